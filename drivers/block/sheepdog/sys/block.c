// SPDX-License-Identifier: GPL-2.0
/*
 * Block layer helpers: the disk with its operations, and walks over the data of a request.
 */
#include <linux/bio.h>
#include <linux/module.h>
#include <linux/net.h>

#include "helpers.h"

/*
 * disk->private_data says whether the disk is claimed for removal (any value but NULL). It changes
 * under open_mutex only, and the block layer calls ->open with that mutex held.
 */
static int sheepdog_disk_open(struct gendisk *disk, blk_mode_t mode)
{
	return disk->private_data ? -ENXIO : 0;
}

static const struct block_device_operations sheepdog_disk_ops = {
	.owner = THIS_MODULE,	/* an open disk keeps the module */
	.open = sheepdog_disk_open,
};

struct gendisk *sheepdog_disk_alloc(struct blk_mq_tag_set *set, struct queue_limits *lim,
				    void *queuedata)
{
	struct gendisk *disk = blk_mq_alloc_disk(set, lim, queuedata);

	if (!IS_ERR(disk))
		disk->fops = &sheepdog_disk_ops;
	return disk;
}

/* Refuses with -EBUSY while the disk is open; after a success nobody can open it any more. */
int sheepdog_disk_claim(struct gendisk *disk)
{
	int ret = 0;

	mutex_lock(&disk->open_mutex);
	if (disk_openers(disk))
		ret = -EBUSY;
	else
		disk->private_data = disk;
	mutex_unlock(&disk->open_mutex);
	return ret;
}

/* A reference that keeps the structure, not the disk. */
struct gendisk *sheepdog_disk_get(struct gendisk *disk)
{
	get_device(disk_to_dev(disk));
	return disk;
}

void sheepdog_disk_put(struct gendisk *disk)
{
	put_device(disk_to_dev(disk));
}

/* Tells udev and whoever listens of a change, with a variable "NAME=value". */
void sheepdog_disk_announce(struct gendisk *disk, const char *variable)
{
	char *envp[] = { (char *)variable, NULL };

	kobject_uevent_env(&disk_to_dev(disk)->kobj, KOBJ_CHANGE, envp);
}

/* The block layer's codes are macros with casts, which the kernel's bindings leave out. */
blk_status_t sheepdog_status(unsigned int status)
{
	switch ((enum sheepdog_status)status) {
	case SHEEPDOG_OK:
		return BLK_STS_OK;
	case SHEEPDOG_NO_SPACE:
		return BLK_STS_NOSPC;
	case SHEEPDOG_NOT_SUPPORTED:
		return BLK_STS_NOTSUPP;
	case SHEEPDOG_TIMEOUT:
		return BLK_STS_TIMEOUT;
	case SHEEPDOG_IO:
		break;
	}
	return BLK_STS_IOERR;
}

void sheepdog_rq_zero(struct request *rq)
{
	struct bio *bio;

	__rq_for_each_bio(bio, rq)
		zero_fill_bio(bio);
}

void sheepdog_cursor_init(struct sheepdog_cursor *cursor, struct request *rq)
{
	cursor->bio = rq->bio;
	if (rq->bio)
		cursor->iter = rq->bio->bi_iter;
}

/*
 * Describes the next bytes of the request in at most max bio_vecs and moves the cursor past them.
 * Returns how many were filled in, 0 at the end of the request; *bytes is their total length.
 */
unsigned int sheepdog_cursor_fill(struct sheepdog_cursor *cursor, struct bio_vec *bvecs,
				  unsigned int max, size_t *bytes)
{
	unsigned int nr = 0;

	*bytes = 0;
	while (nr < max && cursor->bio) {
		if (!cursor->iter.bi_size) {
			cursor->bio = cursor->bio->bi_next;
			if (cursor->bio)
				cursor->iter = cursor->bio->bi_iter;
			continue;
		}
		bvecs[nr] = mp_bvec_iter_bvec(cursor->bio->bi_io_vec, cursor->iter);
		bvec_iter_advance_single(cursor->bio->bi_io_vec, &cursor->iter, bvecs[nr].bv_len);
		*bytes += bvecs[nr].bv_len;
		nr++;
	}
	return nr;
}

/* Whether the network stack may keep references to these pages (not slab, not refcount 0). */
bool sheepdog_bvecs_spliceable(const struct bio_vec *bvecs, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (!sendpages_ok(bvecs[i].bv_page, bvecs[i].bv_len, bvecs[i].bv_offset))
			return false;
	return true;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Files in debugfs that show a table, an item at a time: however long the table is, reading takes a
 * page of memory. The kernel's Rust abstraction does not name the owner of its file operations, so
 * a file that is open while its module goes leads into freed memory on close.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "helpers.h"

/* Called while debugfs_remove() of the file waits, so the table is there. */
static void *sheepdog_table_start(struct seq_file *seq, loff_t *pos)
{
	const struct sheepdog_table *table = seq->private;

	return *pos < table->len ? pos : NULL;
}

static void *sheepdog_table_next(struct seq_file *seq, void *item, loff_t *pos)
{
	++*pos;
	return sheepdog_table_start(seq, pos);
}

static void sheepdog_table_stop(struct seq_file *seq, void *item)
{
}

static int sheepdog_table_show(struct seq_file *seq, void *item)
{
	const struct sheepdog_table *table = seq->private;

	table->show(seq, table->data, *(loff_t *)item);
	return 0;
}

static const struct seq_operations sheepdog_table_seq_ops = {
	.start = sheepdog_table_start,
	.next = sheepdog_table_next,
	.stop = sheepdog_table_stop,
	.show = sheepdog_table_show,
};

static int sheepdog_table_open(struct inode *inode, struct file *file)
{
	int ret = seq_open(file, &sheepdog_table_seq_ops);

	if (!ret)
		((struct seq_file *)file->private_data)->private = inode->i_private;
	return ret;
}

static const struct file_operations sheepdog_table_ops = {
	.owner = THIS_MODULE,	/* an open file keeps the module */
	.open = sheepdog_table_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = seq_release,
};

/* An error pointer is as good as a directory: what is made in it is an error pointer, too. */
struct dentry *sheepdog_debugfs_dir(const char *name, struct dentry *parent)
{
	return debugfs_create_dir(name, parent);
}

struct dentry *sheepdog_debugfs_file(const char *name, struct dentry *parent,
				     const struct sheepdog_table *table)
{
	return debugfs_create_file(name, 0400, parent, (void *)table, &sheepdog_table_ops);
}

/* Returns when nobody reads any more. */
void sheepdog_debugfs_remove(struct dentry *entry)
{
	debugfs_remove(entry);
}

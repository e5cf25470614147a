/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the Rust side of sys/ cannot reach by itself: inline functions, macros, fields of struct
 * sock, and declarations that the kernel's own bindings leave out. Nothing here decides anything.
 * The Rust declarations are in ffi.rs; keep both in step.
 */
#ifndef SHEEPDOG_SYS_HELPERS_H
#define SHEEPDOG_SYS_HELPERS_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/net.h>
#include <linux/seq_file.h>

/* Flags of sheepdog_sock_send(). */
#define SHEEPDOG_SEND_NOWAIT	1	/* -EAGAIN instead of waiting for room */
#define SHEEPDOG_SEND_MORE	2	/* more of this frame follows */
#define SHEEPDOG_SEND_SPLICE	4	/* hand the pages over, do not copy them */

/* How a request ended; the enum Status of blk/request.rs. */
enum sheepdog_status {
	SHEEPDOG_OK,
	SHEEPDOG_IO,
	SHEEPDOG_NO_SPACE,
	SHEEPDOG_NOT_SUPPORTED,
	SHEEPDOG_TIMEOUT,
};

/* Where a walk over the data of a request stands. */
struct sheepdog_cursor {
	struct bio *bio;
	struct bvec_iter iter;
};

/* What a file in debugfs shows: the items 0 to len - 1 of what data points at. */
struct sheepdog_table {
	u64 len;
	void (*show)(struct seq_file *seq, const void *data, u64 index);
	const void *data;
};

/* What sheepdog_protects() tells of. */
#define SHEEPDOG_PROTECT_SCOPES		1
#define SHEEPDOG_PROTECT_SOCKET_RESERVE	2
#define SHEEPDOG_PROTECT_SOCKET_NOIO	4
#define SHEEPDOG_PROTECT_CGROUP		8

/* protections.c */
bool sheepdog_protects(unsigned int protection);

/* block.c */
struct gendisk *sheepdog_disk_alloc(struct blk_mq_tag_set *set, struct queue_limits *lim,
				    void *queuedata);
int sheepdog_disk_claim(struct gendisk *disk);
struct gendisk *sheepdog_disk_get(struct gendisk *disk);
void sheepdog_disk_put(struct gendisk *disk);
void sheepdog_disk_announce(struct gendisk *disk, const char *variable);
blk_status_t sheepdog_status(unsigned int status);
void sheepdog_rq_zero(struct request *rq);
void sheepdog_cursor_init(struct sheepdog_cursor *cursor, struct request *rq);
unsigned int sheepdog_cursor_fill(struct sheepdog_cursor *cursor, struct bio_vec *bvecs,
				  unsigned int max, size_t *bytes);
bool sheepdog_bvecs_spliceable(const struct bio_vec *bvecs, unsigned int nr);

/* net.c */
struct socket *sheepdog_sock_create(bool ipv6);
int sheepdog_sock_connect(struct socket *sock, bool ipv6, const u8 *address, u16 port,
			  u32 scope_id);
void sheepdog_sock_set_timeouts(struct socket *sock, unsigned int timeout_ms);
void sheepdog_sock_keepalive(struct socket *sock, unsigned int interval_s, unsigned int count);
bool sheepdog_sock_is_drained(struct socket *sock);
bool sheepdog_sock_is_local(struct socket *sock);
bool sheepdog_sock_leaves_host(struct socket *sock);
bool sheepdog_sock_has_unread(struct socket *sock);
unsigned int sheepdog_sock_unacknowledged_ms(struct socket *sock);
struct socket *sheepdog_reserve_create(void);
void sheepdog_reserve_release(struct socket *sock);
ssize_t sheepdog_sock_send(struct socket *sock, struct bio_vec *bvecs, unsigned int nr,
			   size_t skip, size_t len, unsigned int flags);
ssize_t sheepdog_sock_recv(struct socket *sock, struct bio_vec *bvecs, unsigned int nr,
			   size_t len);
ssize_t sheepdog_sock_send_buf(struct socket *sock, const void *buf, size_t len);
ssize_t sheepdog_sock_recv_buf(struct socket *sock, void *buf, size_t len);
void sheepdog_sock_abort(struct socket *sock);
void sheepdog_sock_release(struct socket *sock);

/* debugfs.c */
struct dentry *sheepdog_debugfs_dir(const char *name, struct dentry *parent);
struct dentry *sheepdog_debugfs_file(const char *name, struct dentry *parent,
				     const struct sheepdog_table *table);
void sheepdog_debugfs_remove(struct dentry *entry);

/* task.c */
unsigned int sheepdog_memalloc_enter(bool reserves);
void sheepdog_memalloc_leave(unsigned int saved);
struct task_struct *sheepdog_thread_create(int (*body)(void *), void *data, const char *name);
int sheepdog_thread_stop(struct task_struct *task);
bool sheepdog_log_allowed(void);
unsigned int sheepdog_jiffies_to_ms(unsigned long ticks);
u64 sheepdog_now_ms(void);

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel TCP sockets for the I/O path. Every socket is set up so that its allocations cannot start
 * I/O and may use the emergency reserve: what it sends is what frees memory.
 */
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/tcp.h>
#include <linux/uio.h>
#include <net/ipv6.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "helpers.h"

/*
 * The network stack says ENFILE when there is no memory for the socket's inode (__sock_create()), which
 * would send an administrator looking for open files.
 */
static int sheepdog_tcp_create(int family, struct socket **sock)
{
	int ret = sock_create_kern(&init_net, family, SOCK_STREAM, IPPROTO_TCP, sock);

	return ret == -ENFILE ? -ENOMEM : ret;
}

/*
 * To be called from a kernel thread: a socket is charged to the memory cgroup of the task that
 * creates it (sk_alloc), and a small cgroup would stall writeback.
 */
struct socket *sheepdog_sock_create(bool ipv6)
{
	struct socket *sock;
	int ret;

	ret = sheepdog_tcp_create(ipv6 ? AF_INET6 : AF_INET, &sock);
	if (ret)
		return ERR_PTR(ret);

	sock->sk->sk_allocation = sheepdog_protects(SHEEPDOG_PROTECT_SOCKET_NOIO) ? GFP_NOIO :
										    GFP_KERNEL;
	/* The task's page frag would be refilled with the flags of another context. */
	sock->sk->sk_use_task_frag = false;
	if (sheepdog_protects(SHEEPDOG_PROTECT_SOCKET_RESERVE)) {
		/*
		 * As sk_set_memalloc(), but for the static key, which the mapping has raised
		 * (sheepdog_reserve_create): raising it takes the CPU hotplug lock, and whoever
		 * holds that may wait for memory, and so for the connection that is being made.
		 */
		sock_set_flag(sock->sk, SOCK_MEMALLOC);
		sock->sk->sk_allocation |= __GFP_MEMALLOC;
	}
	tcp_sock_set_nodelay(sock->sk);
	return sock;
}

/*
 * While it is there the network stack looks whether a packet was received into the emergency reserve,
 * and gives it to sockets with SOCK_MEMALLOC only. Not to be made or released on the I/O path.
 */
struct socket *sheepdog_reserve_create(void)
{
	struct socket *sock;
	int ret = sheepdog_tcp_create(AF_INET, &sock);

	if (ret)
		return ERR_PTR(ret);
	sk_set_memalloc(sock->sk);
	return sock;
}

void sheepdog_reserve_release(struct socket *sock)
{
	sk_clear_memalloc(sock->sk);
	sock_release(sock);
}

/* Whether the peer of a connected socket is on this host. */
bool sheepdog_sock_is_local(struct socket *sock)
{
	struct dst_entry *dst = sk_dst_get(sock->sk);
	bool local = dst && dst->dev && (dst->dev->flags & IFF_LOOPBACK);

	dst_release(dst);
	return local;
}

/* Whether something has arrived that nobody has read. */
bool sheepdog_sock_has_unread(struct socket *sock)
{
	return !skb_queue_empty_lockless(&sock->sk->sk_receive_queue);
}

/*
 * For how many milliseconds nothing was acknowledged, although TCP tried more than once; 0 if there is nothing
 * to acknowledge. A host whose process stands still goes on to acknowledge: what its window has room
 * for, and probes of a full one, which begins the count of these anew.
 */
unsigned int sheepdog_sock_unacknowledged_ms(struct socket *sock)
{
	const struct inet_connection_sock *icsk = inet_csk(sock->sk);
	const struct tcp_sock *tp = tcp_sk(sock->sk);

	if (READ_ONCE(tp->write_seq) == READ_ONCE(tp->snd_una))
		return 0;
	/* What could not be sent even once is probed for, too. */
	if (READ_ONCE(icsk->icsk_retransmits) < 2 && READ_ONCE(icsk->icsk_probes_out) < 2)
		return 0;
	return jiffies_to_msecs(tcp_jiffies32 - READ_ONCE(tp->rcv_tstamp));
}

static int sheepdog_dev_is_virtual(struct net_device *dev, struct netdev_nested_priv *unused)
{
	/* A bond, a VLAN, a bridge: what is below it is asked, all of it. */
	return !dev->dev.parent && list_empty(&dev->adj_list.lower);
}

/*
 * Whether what is sent on a connected socket has left this host, or been copied, when the socket does
 * not count it any more (sheepdog_sock_is_drained). Hardware is like that. The loopback device, veth
 * and tap hand the packets to a peer on this host, with the pages that they refer to, and let go of
 * the socket.
 */
bool sheepdog_sock_leaves_host(struct socket *sock)
{
	struct dst_entry *dst = sk_dst_get(sock->sk);
	struct netdev_nested_priv unused = {};
	bool leaves = false;

	rcu_read_lock();
	if (dst && dst->dev)
		leaves = !sheepdog_dev_is_virtual(dst->dev, &unused) &&
			 !netdev_walk_all_lower_dev_rcu(dst->dev, sheepdog_dev_is_virtual, &unused);
	rcu_read_unlock();
	dst_release(dst);
	return leaves;
}

/* The limits of the waits are those of sheepdog_sock_set_timeouts. */
int sheepdog_sock_connect(struct socket *sock, bool ipv6, const u8 *address, u16 port,
			  u32 scope_id)
{
	struct sockaddr_storage storage = {};
	int len, ret;

	if (ipv6) {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&storage;

		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port);
		sin6->sin6_scope_id = scope_id;
		memcpy(&sin6->sin6_addr, address, sizeof(sin6->sin6_addr));
		len = sizeof(*sin6);
	} else {
		struct sockaddr_in *sin = (struct sockaddr_in *)&storage;

		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		memcpy(&sin->sin_addr, address, sizeof(sin->sin_addr));
		len = sizeof(*sin);
	}

	/* connect(2) waits for sk_sndtimeo and says EINPROGRESS when that is over. */
	ret = kernel_connect(sock, (void *)&storage, len, 0);
	return ret == -EINPROGRESS ? -ETIMEDOUT : ret;
}

/* Limits each wait for room to send or for data; 0 waits for ever. */
void sheepdog_sock_set_timeouts(struct socket *sock, unsigned int timeout_ms)
{
	long timeo = timeout_ms ? msecs_to_jiffies(timeout_ms) : MAX_SCHEDULE_TIMEOUT;

	WRITE_ONCE(sock->sk->sk_sndtimeo, timeo);
	WRITE_ONCE(sock->sk->sk_rcvtimeo, timeo);
}

/*
 * How a peer is found out that has gone without a word while nothing is under way: probes, which end
 * the connection. No TCP user timeout: it would replace the number of probes by its own time
 * (tcp_keepalive_timer()), and end the connection of a peer that answers and takes nothing for a while.
 */
void sheepdog_sock_keepalive(struct socket *sock, unsigned int interval_s, unsigned int count)
{
	tcp_sock_set_keepidle(sock->sk, interval_s);
	tcp_sock_set_keepintvl(sock->sk, interval_s);
	tcp_sock_set_keepcnt(sock->sk, count);
	sock_set_keepalive(sock->sk);
}

/*
 * Whether nothing below the socket refers to what was sent any more: after an abort, packets may
 * still be queued at a device, with references to the pages that were handed over.
 */
bool sheepdog_sock_is_drained(struct socket *sock)
{
	return !sk_wmem_alloc_get(sock->sk);
}

/* Sends len bytes of the described data from its byte skip on; how many went, or an errno. */
ssize_t sheepdog_sock_send(struct socket *sock, struct bio_vec *bvecs, unsigned int nr,
			   size_t skip, size_t len, unsigned int flags)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };

	if (flags & SHEEPDOG_SEND_NOWAIT)
		msg.msg_flags |= MSG_DONTWAIT;
	if (flags & SHEEPDOG_SEND_MORE)
		msg.msg_flags |= MSG_MORE;
	if (flags & SHEEPDOG_SEND_SPLICE)
		msg.msg_flags |= MSG_SPLICE_PAGES;
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, bvecs, nr, skip + len);
	iov_iter_advance(&msg.msg_iter, skip);
	return sock_sendmsg(sock, &msg);
}

/* Receives exactly len bytes; fewer mean that the peer closed, or a time limit. */
ssize_t sheepdog_sock_recv(struct socket *sock, struct bio_vec *bvecs, unsigned int nr,
			   size_t len)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | MSG_WAITALL };

	iov_iter_bvec(&msg.msg_iter, ITER_DEST, bvecs, nr, len);
	return sock_recvmsg(sock, &msg, msg.msg_flags);
}

ssize_t sheepdog_sock_send_buf(struct socket *sock, const void *buf, size_t len)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };
	struct kvec vec = { .iov_base = (void *)buf, .iov_len = len };

	return kernel_sendmsg(sock, &msg, &vec, 1, len);
}

ssize_t sheepdog_sock_recv_buf(struct socket *sock, void *buf, size_t len)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };
	struct kvec vec = { .iov_base = buf, .iov_len = len };

	return kernel_recvmsg(sock, &msg, &vec, 1, len, MSG_NOSIGNAL | MSG_WAITALL);
}

/*
 * Resets the connection: the peer drops what it has not read, what we have not sent is purged,
 * and everybody who waits on the socket wakes up with an error. May be called at any time, by
 * anybody who keeps the socket from being released.
 */
void sheepdog_sock_abort(struct socket *sock)
{
	/*
	 * Whoever connects and has not begun to must not wait, either: tcp_abort() does nothing on a
	 * closed socket. In this order: both it and connect(2) take the socket's lock.
	 */
	sheepdog_sock_set_timeouts(sock, 1);
	tcp_abort(sock->sk, ECONNABORTED);
}

void sheepdog_sock_release(struct socket *sock)
{
	sock_no_linger(sock->sk);
	sock_release(sock);
}

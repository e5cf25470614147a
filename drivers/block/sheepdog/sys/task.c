// SPDX-License-Identifier: GPL-2.0
/*
 * Task helpers: allocation scopes, kernel threads, the rate limit of log lines, ticks.
 */
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/ratelimit.h>
#include <linux/sched/mm.h>

#include "helpers.h"

/*
 * From here on the allocations of this task start no I/O; with reserves they also do not reclaim
 * and may use the emergency reserve. Scopes nest.
 */
unsigned int sheepdog_memalloc_enter(bool reserves)
{
	if (!sheepdog_protects(SHEEPDOG_PROTECT_SCOPES))
		return memalloc_flags_save(0);
	return memalloc_flags_save(PF_MEMALLOC_NOIO | (reserves ? PF_MEMALLOC : 0));
}

void sheepdog_memalloc_leave(unsigned int saved)
{
	memalloc_flags_restore(saved);
}

/* The thread sleeps until wake_up_process(); the reference keeps the task past its end. */
struct task_struct *sheepdog_thread_create(int (*body)(void *), void *data, const char *name)
{
	struct task_struct *task = kthread_create(body, data, "%s", name);

	if (!IS_ERR(task))
		get_task_struct(task);
	return task;
}

/* Waits for the end of the thread and lets go of it; -EINTR if its body never ran. */
int sheepdog_thread_stop(struct task_struct *task)
{
	return kthread_stop_put(task);
}

/* Errors of requests can come by the thousand: ten lines in five seconds are enough. */
bool sheepdog_log_allowed(void)
{
	static DEFINE_RATELIMIT_STATE(limit, 5 * HZ, 10);

	return __ratelimit(&limit);
}

unsigned int sheepdog_jiffies_to_ms(unsigned long ticks)
{
	return jiffies_to_msecs(ticks);
}

/* Monotonic; stands still while the machine is suspended. */
u64 sheepdog_now_ms(void)
{
	return div_u64(ktime_get_ns(), NSEC_PER_MSEC);
}

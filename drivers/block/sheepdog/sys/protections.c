// SPDX-License-Identifier: GPL-2.0
/*
 * The protections against a lack of memory, and a parameter that takes them away, for tests that show
 * what each is there for (Documentation/reclaim.rst). Never to be set where data matters.
 */
#include <linux/module.h>
#include <linux/net.h>
#include <linux/panic.h>

#include "helpers.h"

static unsigned int unprotected;

static int set_unprotected(const char *text, const struct kernel_param *param)
{
	int ret = param_set_uint(text, param);

	if (!ret && unprotected) {
		pr_warn("sheepdog: running without protections %#x: tests only, this machine can deadlock\n",
			unprotected);
		add_taint(TAINT_USER, LOCKDEP_STILL_OK);
	}
	return ret;
}

static const struct kernel_param_ops unprotected_ops = {
	.set = set_unprotected,
	.get = param_get_uint,
};

module_param_cb(unprotected, &unprotected_ops, &unprotected, 0400);
MODULE_PARM_DESC(unprotected,
		 "protections to take away, for tests: 1 no-I/O and reserve scopes, 2 reserve for sockets, 4 no-I/O allocation of sockets, 8 sockets outside the caller's memory cgroup (taints the kernel)");

bool sheepdog_protects(unsigned int protection)
{
	return !(unprotected & protection);
}

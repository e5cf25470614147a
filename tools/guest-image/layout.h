/* SPDX-License-Identifier: GPL-2.0 */
/* Where things are on the disks that boot by themselves; used by boot.S, make and the tests. */
#define MAILBOX_SECTOR	2048
#define MAILBOX_SECTORS	2048
#define SYSTEM_MAGIC	0x53595331

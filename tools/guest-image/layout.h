/* SPDX-License-Identifier: GPL-2.0 */
/* Where things are on the disks that boot by themselves; used by boot.S, make and the tests. */
#define MAILBOX_SECTOR	2048
#define MAILBOX_SECTORS	2048
#define SYSTEM_MAGIC	0x53595331

/* The guest that fills its disk, writer.S. */
#define WRITER_FIRST		2048
#define WRITER_AT_ONCE		128
#define WRITER_FILL		0x5a
#define WRITER_SECTORS_AT	432
#define WRITER_ROUNDS_AT	436

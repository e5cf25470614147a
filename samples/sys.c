// SPDX-License-Identifier: GPL-2.0
/*
 * The C half of sys/. An object of its own: two directories that build the same one would get into
 * each other's way.
 */
#include "../drivers/block/sheepdog/sys/block.c"
#include "../drivers/block/sheepdog/sys/debugfs.c"
#include "../drivers/block/sheepdog/sys/net.c"
#include "../drivers/block/sheepdog/sys/protections.c"
#include "../drivers/block/sheepdog/sys/task.c"

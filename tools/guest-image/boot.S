/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The smallest guest that boots from its own disk: a boot loader in sector 0, which the BIOS starts,
 * and a system of one sector behind it, which the loader reads from the disk. The system reads the
 * line in the mailbox, writes its answer into the sector behind it, all through the BIOS's disk
 * services, says so on the serial line, and turns the machine off.
 *
 * In: BIOS drive number in %dl. Must never write anywhere but into the sector of the answer.
 */
#include "layout.h"

#define SYSTEM	0x8000
#define LINE	0x9000
#define ANSWER	0x9200
#define COM1	0x3f8

	.code16
	.text
	.globl _start
_start:
	ljmp	$0, $loader
loader:
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$0x7c00, %sp
	cld
	movb	%dl, drive
	movw	$load_system, %si
	movb	$0x42, %ah
	int	$0x13
	jc	dead
	cmpl	$SYSTEM_MAGIC, SYSTEM
	jne	dead
	jmp	SYSTEM + 4
dead:
	movw	$no_system, %si
	call	say
	jmp	off

/* Writes the string at %si to the serial line and to the screen. */
say:
	lodsb
	testb	%al, %al
	jz	said
	pushw	%ax
	movb	$0x0e, %ah
	xorw	%bx, %bx
	int	$0x10
	popw	%ax
	movw	$COM1, %dx
	outb	%al, %dx
	jmp	say
said:
	ret

/* ACPI's off switch as QEMU's i440FX machine has it; if it is another, a reset. */
off:
	movw	$0x604, %dx
	movw	$0x2000, %ax
	outw	%ax, %dx
	movb	$0xfe, %al
	outb	%al, $0x64
	hlt
	jmp	off

drive:
	.byte	0
no_system:
	.asciz	"guest: cannot read the system from the disk\r\n"

/* Addresses for the BIOS's extended services: sectors, where in memory, where on the disk. */
	.balign	4
load_system:
	.byte	16, 0
	.word	1, SYSTEM, 0
	.quad	1
read_line:
	.byte	16, 0
	.word	1, LINE, 0
	.quad	MAILBOX_SECTOR
write_answer:
	.byte	16, 0
	.word	1, ANSWER, 0
	.quad	MAILBOX_SECTOR + 1

	.org	446
	.byte	0x80, 0, 2, 0, 0xda, 0xff, 0xff, 0xff
	.long	MAILBOX_SECTOR, MAILBOX_SECTORS
	.org	510
	.word	0xaa55

/* Sector 1, at SYSTEM in memory. */
system:
	.long	SYSTEM_MAGIC
	movw	$read_line, %si
	movb	drive, %dl
	movb	$0x42, %ah
	int	$0x13
	jc	failed
	movw	$ANSWER, %di
	movw	$(SYSTEM + prefix - system), %si
copy_prefix:
	lodsb
	testb	%al, %al
	jz	copy_line
	stosb
	jmp	copy_prefix
copy_line:
	movw	$LINE, %si
	movw	$256, %cx
1:	lodsb
	stosb
	cmpb	$'\n', %al
	je	2f
	loop	1b
2:	xorb	%al, %al
	stosb
	movw	$write_answer, %si
	movb	drive, %dl
	movw	$0x4300, %ax
	int	$0x13
	jc	failed
	movw	$ANSWER, %si
	call	say_far
	jmp	leave
failed:
	movw	$(SYSTEM + no_disk - system), %si
	call	say_far
leave:
	movw	$off, %ax
	jmp	*%ax
/* The system's own addresses are not those that it was linked for. */
say_far:
	movw	$say, %ax
	jmp	*%ax
prefix:
	.asciz	"guest BIOS answers "
no_disk:
	.asciz	"guest: cannot read or write the mailbox\r\n"
	.org	1024

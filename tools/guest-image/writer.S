/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest that fills its disk: one sector, which the BIOS starts. It writes from WRITER_FIRST on as
 * many sectors as the number at WRITER_SECTORS_AT says, as often as the one at WRITER_ROUNDS_AT says,
 * through the BIOS's disk services, says `written` on the serial line, and turns the machine off.
 * Each sector begins with its own number and that of the round, from 1 on; the rest is WRITER_FILL.
 *
 * In: BIOS drive number in %dl; whoever starts the guest writes the two numbers. The sectors are a
 * multiple of WRITER_AT_ONCE. Must never write anywhere else.
 */
#include "layout.h"

#define BUFFER	0x1000
#define COM1	0x3f8
/*
 * Variables and the stack are not in the page of the code: an emulator that translates code does so
 * anew after each write to its page.
 */
#define STACK	0x7000
#define ROUND	0x5000
#define PACKET	0x5010
#define SECTOR	(PACKET + 8)

	.code16
	.text
	.globl _start
_start:
	ljmp	$0, $writer
writer:
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$STACK, %sp
	movw	%ax, %es
	cld
	movw	$packet, %si
	movw	$PACKET, %di
	movw	$8, %cx
	rep	movsw
	movw	$BUFFER, %ax
	movw	%ax, %es
	movb	%dl, drive
	xorw	%di, %di
	movw	$(WRITER_AT_ONCE * 256), %cx
	movw	$(WRITER_FILL * 0x101), %ax
	rep	stosw

	movl	$1, ROUND
next_round:
	movl	ROUND, %ebx
	cmpl	rounds, %ebx
	ja	done
	movl	$WRITER_FIRST, SECTOR
next_write:
	movl	SECTOR, %eax
	movl	%eax, %edx
	subl	$WRITER_FIRST, %edx
	cmpl	sectors, %edx
	jae	end_of_round
	xorw	%di, %di
	movw	$WRITER_AT_ONCE, %cx
stamp:
	movl	%eax, %es:(%di)
	movl	%ebx, %es:4(%di)
	addw	$512, %di
	incl	%eax
	loop	stamp
	movw	$PACKET, %si
	movb	drive, %dl
	movw	$0x4300, %ax
	int	$0x13
	jc	failed
	addl	$WRITER_AT_ONCE, SECTOR
	movl	ROUND, %ebx
	jmp	next_write
end_of_round:
	incl	ROUND
	jmp	next_round

failed:
	movw	$cannot, %si
	jmp	say
done:
	movw	$written, %si
say:
	lodsb
	testb	%al, %al
	jz	off
	movw	$COM1, %dx
	outb	%al, %dx
	jmp	say

/* ACPI's off switch as QEMU's i440FX machine has it. */
off:
	movw	$0x604, %dx
	movw	$0x2000, %ax
	outw	%ax, %dx
	hlt
	jmp	off

drive:
	.byte	0
cannot:
	.asciz	"guest: cannot write to the disk\r\n"
written:
	.asciz	"written\r\n"
/* For the BIOS's extended services: sectors, where in memory, where on the disk; copied to PACKET. */
packet:
	.byte	16, 0
	.word	WRITER_AT_ONCE, 0, BUFFER
	.quad	0

	.org	WRITER_SECTORS_AT
sectors:
	.long	0
	.org	WRITER_ROUNDS_AT
rounds:
	.long	0
	.org	446
	.byte	0x80, 0, 2, 0, 0xda, 0xff, 0xff, 0xff
	.long	WRITER_FIRST, 0x7fffffff
	.org	510
	.word	0xaa55

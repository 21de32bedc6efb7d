# From multiboot's 32 bits to 64, with SSE, AVX and AVX-512 switched on, and into `rust_main`.
.section .multiboot, "ax"
.code32
.align 4
header: .long 0x1BADB002, 0x00010000, -(0x1BADB002 + 0x00010000)
.long header, header, 0, bss_end, start
.globl start
start:
    cli
    movl $stack_top, %esp
    # The first GiB where it lies, in pages of 2 MiB.
    movl $p3, %eax
    orl $3, %eax
    movl %eax, p4
    movl $p2, %eax
    orl $3, %eax
    movl %eax, p3
    xorl %ecx, %ecx
1:  movl %ecx, %eax
    shll $21, %eax
    orl $0x83, %eax
    movl %eax, p2(,%ecx,8)
    movl $0, p2+4(,%ecx,8)
    incl %ecx
    cmpl $512, %ecx
    jne 1b
    movl $p4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x40620, %eax          # PAE, OSFXSR, OSXMMEXCPT, OSXSAVE
    movl %eax, %cr4
    movl $0xC0000080, %ecx      # EFER: long mode
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    andl $~4, %eax
    orl $0x80000002, %eax
    movl %eax, %cr0
    xorl %ecx, %ecx
    xorl %edx, %edx
    movl $0xE7, %eax            # XCR0: x87, SSE, AVX, masks, both halves of AVX-512
    xsetbv
    lgdt gdtr
    ljmp $8, $long
.code64
long:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movq $stack_top, %rsp
    call rust_main
1:  hlt
    jmp 1b
.align 8
gdt: .quad 0, 0x00AF9A000000FFFF, 0x00CF92000000FFFF
gdtr: .word 23
.quad gdt

# What the compiler takes for granted.
.text
.globl memcpy, memset, memmove, memcmp, rust_eh_personality
memcpy:
    movq %rdi, %rax
    movq %rdx, %rcx
    rep movsb
    ret
memset:
    movq %rdi, %r8
    movl %esi, %eax
    movq %rdx, %rcx
    rep stosb
    movq %r8, %rax
    ret
memmove:
    movq %rdi, %rax
    movq %rdx, %rcx
    cmpq %rsi, %rdi
    jbe 1f
    leaq -1(%rdi,%rdx), %rdi
    leaq -1(%rsi,%rdx), %rsi
    std
    rep movsb
    cld
    ret
1:  rep movsb
    ret
memcmp:
    xorl %eax, %eax
    testq %rdx, %rdx
    je 2f
1:  movzbl (%rdi), %eax
    movzbl (%rsi), %ecx
    subl %ecx, %eax
    jne 2f
    incq %rdi
    incq %rsi
    decq %rdx
    jne 1b
2:  ret
rust_eh_personality:
    ret

.section .bss
.align 4096
p4: .skip 4096
p3: .skip 4096
p2: .skip 4096
.skip 1048576
stack_top:
.section .note.GNU-stack

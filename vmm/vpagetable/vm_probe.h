/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Static probes (USDT): where perf and bpftrace can attach without a trace being recorded.  Each is
 * an instruction that does nothing and a note in the program that says where it is and where its
 * arguments are; docs/tracing.md shows how they are used.  Without sys/sdt.h at the build there are
 * none.
 *
 *     fault_begin  gpa, access (VM_PROT_*)
 *     fault_end    gpa, access, result (enum vm_result), kind (enum fault_kind; result VM_OK)
 *     copy         gpa, slot of the page copied, of the new one
 *     pageout      number of the object, page index in it, written?
 *     inval        first gpa, gpa behind the last
 */
#ifndef VM_PROBE_H
#define VM_PROBE_H

#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#endif
#endif

#ifdef DTRACE_PROBE2
#define VM_PROBE2(name, a, b) DTRACE_PROBE2(vkvm, name, a, b)
#define VM_PROBE3(name, a, b, c) DTRACE_PROBE3(vkvm, name, a, b, c)
#define VM_PROBE4(name, a, b, c, d) DTRACE_PROBE4(vkvm, name, a, b, c, d)
#else
#define VM_PROBE2(name, a, b) ((void)(a), (void)(b))
#define VM_PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#define VM_PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared memory objects: pages under a key, made when first touched.  They stay in RAM as
 * long as the object lives, that is, as long as a region of a process refers to it.
 */
#ifndef VKERNEL_SHM_H
#define VKERNEL_SHM_H

#include <stdint.h>

#define SHM_MAX_OBJECTS 16
#define SHM_MAX_PAGES 1024

struct shm;

/*
 * The object with this key, of npages, with a reference for the caller; made if there is
 * none.  NULL: it has another size, or there is no room.
 */
struct shm *shm_get(uint64_t key, uint64_t npages);

/* One reference more, one less; without references the object and its pages are freed. */
void shm_ref(struct shm *shm);
void shm_unref(struct shm *shm);

/* The page at index, made if missing; no reference for the caller.  0 when RAM is out. */
uint64_t shm_page(struct shm *shm, uint64_t index);

/* Objects alive. */
unsigned shm_in_use(void);

#endif

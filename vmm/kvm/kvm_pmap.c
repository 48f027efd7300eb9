/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pmap's operations on Linux.
 *
 * A run to enter is cut into groups of equal treatment.  A group whose VMA maps
 * the right frames already is entered by one userfaultfd operation; the others
 * are remapped (kvm_window_remap).  While nothing in the chunk is foreign no
 * lock is taken: only this thread, which holds P, can change that.
 *
 * A long natural run is entered in two steps, a short one first: the vCPU that
 * waits for it goes on through the first pages while this thread is busy with the
 * others.
 */
#include "vmm/kvm/kvm_pmap.h"

#include "vmm/base/limits.h"
#include "vmm/kvm/kvm_window.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGNMENT ((uint64_t)PMAP_CHUNK_PAGES << PAGE_SHIFT)

/* Pages of a long run's first step. */
#define LEAD_PAGES 8u

/* Pages whose bytes are gathered for one copy. */
#define STAGE_PAGES 8u

/* VMAs left to everything else in the process: threads, heaps, libraries. */
#define VMAS_RESERVED 2000

static void
count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t
page_of(gpa_t gpa)
{
    return gpa_to_u64(gpa) >> PAGE_SHIFT;
}

/* --- wake-ups ------------------------------------------------------------ */

static _Atomic uint64_t *
wakeup_counter(struct kvm_pmap *kp, uint64_t page)
{
    return &kp->wakeups[page / PMAP_CHUNK_PAGES % WAKEUP_COUNTERS];
}

/* All wake-ups of one call lie in one chunk. */
void
kvm_pmap_announce_wakeup(struct kvm_pmap *kp, uint64_t page)
{
    atomic_fetch_add(wakeup_counter(kp, page), 1);
}

uint64_t
kvm_pmap_wakeups(const struct kvm_pmap *kpmap, gpa_t gpa)
{
    uint64_t chunk = page_of(gpa) / PMAP_CHUNK_PAGES;

    return atomic_load(&kpmap->wakeups[chunk % WAKEUP_COUNTERS]);
}

/* --- windows ------------------------------------------------------------- */

static bool
kvm_pmap_is_aborted(struct kvm_pmap *kp)
{
    vm_mutex_lock(&kp->foreign_lock);
    bool aborted = kp->aborted;
    vm_mutex_unlock(&kp->foreign_lock);
    return aborted;
}

static int
op_window_create(void *md, struct pmap_window *w)
{
    struct kvm_pmap *kp = md;
    struct kvm_window *kw;
    uint64_t first = page_of(w->start);
    const uint64_t limit = KVM_PMAP_SPACE >> PAGE_SHIFT;

    if (w->npages > limit || first > limit - w->npages)
        return -EINVAL;
    int error = kvm_window_create(kp, first, w->npages, w->natural, &kw);
    if (error != 0)
        return error;
    error = memslots_show(&kp->slots, first, w->npages);
    if (error != 0) {
        kvm_window_close(kw);
        kvm_window_destroy(kw);
        return error;
    }
    w->md = kw;
    w->costly = kw->natural != w->natural; /* nobody else knows the window yet */
    return 0;
}

static void
tell_slot_failure(struct kvm_pmap *kp, const struct kvm_window *kw, int error)
{
    char message[sizeof(struct limits_reason) + 80];

    snprintf(message, sizeof(message), "cannot take the memslot of guest address 0x%llx away: %s",
             (unsigned long long)(kw->first << PAGE_SHIFT), limits_explain(error).text);
    kp->fatal(kp->context, message);
}

/*
 * Closing first lets every vCPU out of its fault there; KVM waits for them.  After
 * the abort nobody runs any more and the slot goes with the VM: to remove it alone
 * would cost a grace period of the host's kernel.
 */
static void
op_window_destroy(void *md, struct pmap_window *w)
{
    struct kvm_pmap *kp = md;
    struct kvm_window *kw = w->md;

    kvm_window_close(kw);
    if (!kvm_pmap_is_aborted(kp)) {
        int error = memslots_hide(&kp->slots, kw->first, kw->npages);
        if (error != 0)
            tell_slot_failure(kp, kw, error);
    }
    kvm_window_destroy(kw);
    w->md = NULL;
}

static int
op_window_rebase(void *md, struct pmap_window *w)
{
    (void)md;
    kvm_window_rebase(w->md, w->natural);
    return 0;
}

/* --- enter --------------------------------------------------------------- */

/* Pages that are treated alike. */
struct group {
    unsigned npages;
    unsigned how; /* UFFD_* */
    bool copied;  /* the frames are holes that get their bytes from elsewhere */
    bool placed;  /* the VMA maps the right frame already */
};

static unsigned
frame_how(const struct pmap_frame *frame)
{
    return (frame->fill ? UFFD_FILL : 0) | ((frame->prot & VM_PROT_WRITE) != 0 ? UFFD_WRITE : 0);
}

/* Locks: `foreign` held, or the chunk has no foreign page (see kvm_window_maps). */
static struct group
group_at(const struct kvm_window *kw, uint64_t page, const struct pmap_frame *frames,
         unsigned npages)
{
    struct group g = {
        .npages = 1,
        .how = frame_how(&frames[0]),
        .copied = frames[0].content != NULL,
        .placed = kvm_window_maps(kw, page, frames[0].frame),
    };
    while (g.npages < npages && frame_how(&frames[g.npages]) == g.how &&
           (frames[g.npages].content != NULL) == g.copied &&
           kvm_window_maps(kw, page + g.npages, frames[g.npages].frame) == g.placed)
        g.npages++;
    return g;
}

/*
 * Keep the first step of a long run short.  Not where pages are copied, nor where they are
 * remapped: the guest and this thread would fight for the address space's lock.
 */
static void
cut_group(struct group *g, unsigned entered)
{
    if (g->placed && !g->copied && entered == 0 && g->npages > LEAD_PAGES)
        g->npages = LEAD_PAGES;
}

/* Give frames their bytes through the direct map. */
static void
fill_frames(const struct kvm_pmap *kp, const struct pmap_frame *frames, unsigned npages)
{
    for (unsigned i = 0; i < npages; i++)
        memcpy(vm_frame_address(kp->sys, frames[i].frame), frames[i].content, PAGE_SIZE);
}

/* The pages' bytes in a row: where they are, or gathered in `stage`. */
static const void *
gather(const struct pmap_frame *frames, unsigned npages, uint8_t (*stage)[PAGE_SIZE])
{
    const uint8_t *first = frames[0].content;
    unsigned n = 1;

    while (n < npages && frames[n].content == first + ((size_t)n << PAGE_SHIFT))
        n++;
    if (n == npages)
        return first;
    for (unsigned i = 0; i < npages; i++)
        memcpy(stage[i], frames[i].content, PAGE_SIZE);
    return stage;
}

/*
 * Copy bytes to holes.  A frame that is filled against all expectation gets its bytes through the
 * direct map.
 */
static int
copy_some(const struct kvm_pmap *kp, uint64_t page, const struct pmap_frame *frames,
          unsigned npages, unsigned how, unsigned *done)
{
    uint8_t stage[STAGE_PAGES][PAGE_SIZE]; /* not cleared: what is read was written */
    void *at = kvm_window_address(kp, page);
    int error = uffd_copy(&kp->uffd, at, gather(frames, npages, stage), npages, how, done);

    if (error != -EEXIST)
        return error;
    if (*done != 0)
        return 0;
    fill_frames(kp, frames, 1);
    return uffd_enter(&kp->uffd, at, 1, how & ~UFFD_FILL, done);
}

/*
 * Who waits is woken when all are there: a vCPU that is woken for one page is soon back, since it
 * takes less time for a page than the copying does.
 */
static int
copy_group(const struct kvm_pmap *kp, uint64_t page, const struct pmap_frame *frames,
           const struct group *g, unsigned *done)
{
    unsigned some;
    int error = 0;

    for (*done = 0; *done < g->npages && error == 0; *done += some) {
        unsigned left = g->npages - *done;

        error = copy_some(kp, page + *done, frames + *done, left < STAGE_PAGES ? left : STAGE_PAGES,
                          g->how | UFFD_QUIET, &some);
    }
    if (*done == 0)
        return error;
    int woken = uffd_wake(&kp->uffd, kvm_window_address(kp, page), *done);
    return error != 0 ? error : woken;
}

/* Enter pages whose VMA maps the right frames. */
static int
enter_placed(const struct kvm_pmap *kp, uint64_t page, const struct pmap_frame *frames,
             const struct group *g, unsigned *done)
{
    if (g->copied)
        return copy_group(kp, page, frames, g, done);
    return uffd_enter(&kp->uffd, kvm_window_address(kp, page), g->npages, g->how, done);
}

static int
remap_group(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page,
            const struct pmap_frame *frames, const struct group *g, unsigned *done)
    VM_REQUIRES(kp->foreign_lock)
{
    unsigned how = g->copied ? g->how & ~UFFD_FILL : g->how;

    if (g->copied)
        fill_frames(kp, frames, g->npages);
    int error = kvm_window_remap(kp, kw, page, g->npages, frames, how);

    *done = error == 0 ? g->npages : 0;
    return error;
}

/* Locks: `foreign` held. */
static int
enter_group(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page,
            const struct pmap_frame *frames, const struct group *g, unsigned *done)
    VM_REQUIRES(kp->foreign_lock)
{
    if (!g->placed)
        return remap_group(kp, kw, page, frames, g, done);
    int error = enter_placed(kp, page, frames, g, done);
    if (error != -EOPNOTSUPP)
        return error;
    struct group rest = { .npages = g->npages - *done, .how = g->how, .copied = g->copied };
    unsigned more;
    error = remap_group(kp, kw, page + *done, frames + *done, &rest, &more);
    *done += more;
    return error;
}

/* Enter what needs a change of VMAs, or may. */
static int
enter_locked(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page,
             const struct pmap_frame *frames, unsigned npages, unsigned *entered)
    VM_REQUIRES(kp->foreign_lock)
{
    unsigned done;
    int error = 0;

    for (; *entered < npages && error == 0; *entered += done) {
        struct group g = group_at(kw, page + *entered, frames + *entered, npages - *entered);
        cut_group(&g, *entered);
        error = enter_group(kp, kw, page + *entered, frames + *entered, &g, &done);
    }
    return error;
}

/* Enter natural pages of a chunk without foreign ones.  Stops with -EOPNOTSUPP where
 * a remap is needed. */
static int
enter_natural(const struct kvm_pmap *kp, const struct kvm_window *kw, uint64_t page,
              const struct pmap_frame *frames, unsigned npages, unsigned *entered)
{
    unsigned done;
    int error = 0;

    for (; *entered < npages && error == 0; *entered += done) {
        struct group g = group_at(kw, page + *entered, frames + *entered, npages - *entered);
        if (!g.placed)
            return -EOPNOTSUPP;
        cut_group(&g, *entered);
        error = enter_placed(kp, page + *entered, frames + *entered, &g, &done);
    }
    return error;
}

static void
count_entered(struct kvm_pmap *kp, const struct kvm_window *kw, uint64_t page,
              const struct pmap_frame *frames, unsigned entered)
{
    unsigned natural = 0;

    for (unsigned i = 0; i < entered; i++)
        natural += kw->natural != PMAP_NO_NATURAL &&
                   frames[i].frame == kw->natural + (page + i - kw->first);
    count(&kp->natural_pages, natural);
    count(&kp->foreign_pages, entered - natural);
}

static int
op_enter(void *md, struct pmap_window *w, uint64_t first, unsigned npages,
         const struct pmap_frame *frames, unsigned *entered)
{
    struct kvm_pmap *kp = md;
    struct kvm_window *kw = w->md;
    uint64_t page = kw->first + first;
    int error = -EOPNOTSUPP;

    count(&kp->enter_calls, 1);
    kvm_pmap_announce_wakeup(kp, page);
    *entered = 0;
    if (!kvm_window_has_foreign(kw, page))
        error = enter_natural(kp, kw, page, frames, npages, entered);
    if (error != 0) {
        vm_mutex_lock(&kp->foreign_lock);
        error = enter_locked(kp, kw, page, frames, npages, entered);
        kvm_pmap_unlock(kp);
    }
    count_entered(kp, kw, page, frames, *entered);
    return error;
}

/* --- remove, protect, wake ----------------------------------------------- */

/*
 * MADV_DONTNEED keeps VMAs and frames (fact 9) and goes through the MMU
 * notifier, so the guest has lost its access when it returns.  Where it cannot
 * be used (locked memory) a fresh home mapping does the same.  If that fails too the VM
 * ends, and with that the guest has lost all access.
 */
static void
op_remove(void *md, struct pmap_window *w, uint64_t first, uint64_t npages)
{
    struct kvm_pmap *kp = md;
    struct kvm_window *kw = w->md;
    uint64_t page = kw->first + first;

    if (madvise(kvm_window_address(kp, page), npages << PAGE_SHIFT, MADV_DONTNEED) == 0)
        return;
    vm_mutex_lock(&kp->foreign_lock);
    kvm_window_send_home(kp, kw, page, npages);
    kvm_pmap_unlock(kp);
}

/* A page that cannot be protected must not stay: the next touch enters it protected. */
static void
op_protect(void *md, struct pmap_window *w, uint64_t first, uint64_t npages)
{
    struct kvm_pmap *kp = md;
    struct kvm_window *kw = w->md;

    if (uffd_protect(&kp->uffd, kvm_window_address(kp, kw->first + first), npages) != 0)
        op_remove(md, w, first, npages);
}

static void
op_wake(void *md, struct pmap_window *w, uint64_t first, uint64_t npages)
{
    struct kvm_pmap *kp = md;
    struct kvm_window *kw = w->md;
    uint64_t page = kw->first + first;

    kvm_pmap_announce_wakeup(kp, page);
    (void)uffd_wake(&kp->uffd, kvm_window_address(kp, page), npages);
}

const struct pmap_ops kvm_pmap_ops = {
    .window_create = op_window_create,
    .window_destroy = op_window_destroy,
    .window_rebase = op_window_rebase,
    .enter = op_enter,
    .remove = op_remove,
    .protect = op_protect,
    .promote = kvm_super_promote,
    .demote = kvm_super_demote,
    .wake = op_wake,
};

/* --- failing accesses ---------------------------------------------------- */

static struct failed_page *
find_failed(struct kvm_pmap *kp, uint64_t page) VM_REQUIRES(kp->foreign_lock)
{
    for (unsigned i = 0; i < kp->nfailed; i++)
        if (kp->failed[i].page == page)
            return &kp->failed[i];
    return NULL;
}

int
kvm_pmap_add_failed(struct kvm_pmap *kp, uint64_t page)
{
    struct failed_page *failed = find_failed(kp, page);

    if (failed != NULL) {
        failed->count++;
        return 0;
    }
    struct failed_page *grown = reallocarray(kp->failed, kp->nfailed + 1, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    kp->failed = grown;
    int error = kvm_window_shut(kp, page);
    if (error != 0)
        return error;
    kp->failed[kp->nfailed++] = (struct failed_page){ page, 1 };
    return 0;
}

/* The page may be gone with its window. */
int
kvm_pmap_drop_failed(struct kvm_pmap *kp, uint64_t page)
{
    struct failed_page *failed = find_failed(kp, page);

    if (failed == NULL || --failed->count != 0)
        return 0;
    *failed = kp->failed[--kp->nfailed];
    return kvm_window_open(kp, page, 1);
}

/*
 * The page is made inaccessible before the counter is looked at: a wake-up that
 * comes later sends the vCPU into EFAULT, one that came earlier has been counted.
 */
static int
fail_locked(struct kvm_pmap *kp, uint64_t page, uint64_t wakeups) VM_REQUIRES(kp->foreign_lock)
{
    const struct kvm_window *kw = kvm_window_find(kp, page);

    if (kw != NULL && kw->closing)
        return -ENOENT;
    int error = kvm_pmap_add_failed(kp, page);
    if (error != 0)
        return error;
    if (atomic_load(wakeup_counter(kp, page)) != wakeups) {
        error = kvm_pmap_drop_failed(kp, page);
        error = error == 0 ? -EAGAIN : error;
    }
    kvm_pmap_announce_wakeup(kp, page);
    (void)uffd_wake(&kp->uffd, kvm_window_address(kp, page), 1);
    return error;
}

int
kvm_pmap_fail(struct kvm_pmap *kpmap, gpa_t gpa, uint64_t wakeups)
{
    vm_mutex_lock(&kpmap->foreign_lock);
    int error = fail_locked(kpmap, page_of(gpa), wakeups);
    kvm_pmap_unlock(kpmap);
    return error;
}

int
kvm_pmap_unfail(struct kvm_pmap *kpmap, gpa_t gpa)
{
    vm_mutex_lock(&kpmap->foreign_lock);
    int error = kvm_pmap_drop_failed(kpmap, page_of(gpa));
    kvm_pmap_unlock(kpmap);
    return error;
}

/* Not counted as wake-ups: nobody can be made to fail after this. */
void
kvm_pmap_abort(struct kvm_pmap *kpmap)
{
    vm_mutex_lock(&kpmap->foreign_lock);
    kpmap->aborted = true;
    (void)mprotect(kpmap->space, KVM_PMAP_SPACE, PROT_NONE); /* whole VMAs: it needs no new one */
    (void)uffd_wake(&kpmap->uffd, kpmap->space, KVM_PMAP_SPACE >> PAGE_SHIFT);
    vm_mutex_unlock(&kpmap->foreign_lock);
}

/* --- the whole ----------------------------------------------------------- */

/* Half of the limit where it is so low that the reserve would leave little. */
static uint64_t
vma_limit(void)
{
    unsigned long limit = 65530;
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");

    if (f != NULL) {
        if (fscanf(f, "%lu", &limit) != 1)
            limit = 65530;
        fclose(f);
    }
    return limit > 2 * VMAS_RESERVED ? limit - VMAS_RESERVED : limit / 2;
}

static int
open_placeholder(void)
{
    int fd = memfd_create("vkvm-placeholder", MFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)KVM_PMAP_SPACE) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

/* Reserve the address space, aligned so that chunks and page table pages coincide. */
static int
reserve_space(uint8_t **space)
{
    const uint64_t size = KVM_PMAP_SPACE + ALIGNMENT;
    uint8_t *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED)
        return -errno;
    uint64_t head = -(uintptr_t)at & (ALIGNMENT - 1);
    if (head != 0)
        munmap(at, head);
    munmap(at + head + KVM_PMAP_SPACE, ALIGNMENT - head);
    *space = at + head;
    return 0;
}

/* The address space of the windows, all placeholder.  Leaves nothing of itself on failure. */
static int
make_space(struct kvm_pmap *kp)
{
    int error = reserve_space(&kp->space);

    if (error != 0)
        return error;
    kp->placeholder = open_placeholder();
    error = kp->placeholder < 0 ? kp->placeholder : kvm_space_init(kp);
    if (error == 0)
        return 0;
    if (kp->placeholder >= 0)
        close(kp->placeholder);
    munmap(kp->space, KVM_PMAP_SPACE);
    return error;
}

static void
unmake_space(struct kvm_pmap *kp)
{
    munmap(kp->space, KVM_PMAP_SPACE);
    close(kp->placeholder);
}

/* What can fail of kvm_pmap_create.  Leaves nothing of itself on failure. */
static int
acquire(struct kvm_pmap *kp, const struct kvm_vm *kvm)
{
    int error = uffd_init(&kp->uffd, kvm->uffd, kvm->host->uffd_continue_wp);

    if (error != 0)
        return error;
    kp->uffd.continued = &kp->continued_pages;
    error = make_space(kp);
    if (error != 0)
        goto no_space;
    error = memslots_init(&kp->slots, kvm->fd, kvm->max_memslots, kp->space,
                          KVM_PMAP_SPACE >> PAGE_SHIFT);
    if (error == 0)
        return 0;
    unmake_space(kp);
no_space:
    uffd_fini(&kp->uffd);
    return error;
}

int
kvm_pmap_create(const struct kvm_pmap_config *config, struct kvm_pmap **kpmap)
{
    struct kvm_pmap *kp = calloc(1, sizeof(*kp));

    if (kp == NULL)
        return -ENOMEM;
    kp->sys = config->sys;
    kp->fatal = config->fatal;
    kp->context = config->context;
    kp->vma_limit = vma_limit();
    TAILQ_INIT(&kp->foreign);
    vm_mutex_init(&kp->foreign_lock);
    int error = acquire(kp, config->kvm);
    if (error != 0) {
        vm_mutex_fini(&kp->foreign_lock);
        free(kp);
        return error;
    }
    *kpmap = kp;
    return 0;
}

void
kvm_pmap_destroy(struct kvm_pmap *kpmap)
{
    memslots_fini(&kpmap->slots);
    unmake_space(kpmap);
    uffd_fini(&kpmap->uffd);
    vm_mutex_fini(&kpmap->foreign_lock);
    vm_ranges_fini(&kpmap->windows);
    free(kpmap->failed);
    free(kpmap);
}

void
kvm_pmap_configure(struct kvm_pmap *kpmap, uint64_t limit,
                   int (*ioctl)(int fd, unsigned long request, void *argument))
{
    assert(limit == 0 || limit >= 2 * PMAP_CHUNK_PAGES);
    if (limit != 0)
        kpmap->vma_limit = limit;
    if (ioctl != NULL) {
        kpmap->uffd.ioctl = ioctl;
        kpmap->slots.ioctl = ioctl;
    }
}

bool
kvm_pmap_gpa(const struct kvm_pmap *kpmap, uint64_t host_address, gpa_t *gpa)
{
    uint64_t offset = host_address - (uintptr_t)kpmap->space;

    if (offset >= KVM_PMAP_SPACE)
        return false;
    *gpa = gpa_from_u64(offset);
    return true;
}

void *
kvm_pmap_host_address(const struct kvm_pmap *kpmap, gpa_t gpa)
{
    return kpmap->space + gpa_to_u64(gpa);
}

void
kvm_pmap_statistics(struct kvm_pmap *kpmap, struct kvm_pmap_statistics *out)
{
    out->enter_calls = atomic_load_explicit(&kpmap->enter_calls, memory_order_relaxed);
    out->natural_pages = atomic_load_explicit(&kpmap->natural_pages, memory_order_relaxed);
    out->continued_pages = atomic_load_explicit(&kpmap->continued_pages, memory_order_relaxed);
    out->foreign_pages = atomic_load_explicit(&kpmap->foreign_pages, memory_order_relaxed);
    out->superpages = atomic_load_explicit(&kpmap->superpages, memory_order_relaxed);
    out->superpages_refused =
        atomic_load_explicit(&kpmap->superpages_refused, memory_order_relaxed);
    vm_mutex_lock(&kpmap->foreign_lock);
    out->foreign_evictions = kpmap->foreign_evictions;
    out->windows = kpmap->windows.n;
    vm_mutex_unlock(&kpmap->foreign_lock);
}

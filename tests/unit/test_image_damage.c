/* SPDX-License-Identifier: BSD-2-Clause */
/* Images damaged at random: each is refused, or loaded without harm. */
#include "tests/unit/image_rig.h"

/* Values that sit on edges hurt more often than others. */
static uint64_t
random_value(void)
{
    static const uint64_t edges[] = {
        0,
        1,
        0x7f,
        0xff,
        0xffff,
        0x7fffffff,
        0xffffffff,
        LOW,
        MEMORY_SIZE,
        MEMORY_MAX,
        FILE_SIZE,
        0x7fffffffffffffff,
        ~(uint64_t)0,
        sizeof(Elf64_Phdr),
    };
    uint64_t value = edges[(size_t)rand() % (sizeof(edges) / sizeof(edges[0]))];

    return value + (uint64_t)(rand() % 5) - 2;
}

static void
damage(struct model *model, size_t *size)
{
    size_t headers = offsetof(struct model, phdrs) + 3 * sizeof(Elf64_Phdr);

    for (int n = rand() % 4; n >= 0; n--) {
        uint64_t value = random_value();
        size_t width = (size_t)1 << rand() % 4;
        size_t at = (size_t)rand() % (headers / width) * width;

        /* The identification seldom, or nothing gets past it. */
        if (at >= EI_NIDENT || rand() % 8 == 0)
            memcpy((uint8_t *)model + at, &value, width);
    }
    if (rand() % 8 == 0)
        *size = (size_t)rand() % (sizeof(*model) + 1);
}

/* What is let through keeps the promises of image.h. */
static void
check_accepted(const struct image *image)
{
    for (unsigned i = 0; i < image->nsegments; i++) {
        const struct image_segment *s = &image->segments[i];

        cr_assert(s->size != 0 && s->file_size <= s->size);
        cr_assert(s->start.value >= LOW && s->size <= MEMORY_SIZE);
        cr_assert(s->start.value <= MEMORY_SIZE - s->size);
        cr_assert(i == 0 || s[-1].start.value + s[-1].size <= s->start.value);
    }
    cr_assert(image_overlaps(image, image->entry, 1));
}

Test(image, random_damage_is_refused_or_harmless)
{
    uint8_t *memory = calloc(1, MEMORY_SIZE);
    unsigned accepted = 0;

    environment_seed("image");
    for (int round = 0; round < 20000; round++) {
        struct model model;
        struct opened o;
        size_t size = sizeof(model);

        model_init(&model);
        damage(&model, &size);
        open_bytes(&o, &model, size);
        if (o.status == 0) {
            check_accepted(&o.image);
            cr_assert(eq(int, load(&o, memory), 0));
            accepted++;
        }
        close_opened(&o);
    }
    cr_expect(accepted > 100, "only %u accepted: the test is blind", accepted);
    free(memory);
}

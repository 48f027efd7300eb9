/* SPDX-License-Identifier: BSD-2-Clause */
/* No filters: what stands in the place of the generated ones where libseccomp is not there. */
#include "vmm/vm/sandbox_filters.h"

const struct sandbox_filter sandbox_filters[SANDBOX_KINDS];

const char sandbox_call_names[][SANDBOX_CALL_NAME] = { "" };
const size_t sandbox_ncalls = 1;

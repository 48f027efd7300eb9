/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sieve of Eratosthenes over the odd numbers below 2^23, one byte each: 4 MiB.
 */
#include "guest/vkernel/user.h"

#define SIEVE_LIMIT (UINT64_C(1) << 23)
#define SIEVE_SIZE (SIEVE_LIMIT / 2)
#define SIEVE_PRIMES 564163 /* pi(2^23), OEIS A007053 */

int
user_sieve(void)
{
    uint8_t *composite = user_grow(SIEVE_SIZE / USER_PAGE); /* [i]: 2 i + 1 */
    uint64_t primes = 1;                                    /* 2 */

    for (uint64_t n = 3; n * n < SIEVE_LIMIT; n += 2) {
        if (composite[n / 2])
            continue;
        for (uint64_t i = n * n / 2; i < SIEVE_SIZE; i += n)
            composite[i] = 1;
        if (n < 64)
            user_yield();
    }
    for (uint64_t i = 1; i < SIEVE_SIZE; i++)
        primes += !composite[i];
    user_print("  sieve: %lu primes below %lu\n", primes, SIEVE_LIMIT);
    USER_CHECK(primes == SIEVE_PRIMES);
    return 0;
}

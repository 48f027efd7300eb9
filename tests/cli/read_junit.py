# SPDX-License-Identifier: BSD-2-Clause
#
# What junitparser counts in a file: cases passed, failed, with an error, skipped.
import sys

import junitparser

counts = {junitparser.Failure: 0, junitparser.Error: 0, junitparser.Skipped: 0}
passed = 0
for suite in junitparser.JUnitXml.fromfile(sys.argv[1]):
    for case in suite:
        passed += not case.result
        for result in case.result:
            counts[type(result)] += 1
print(passed, *counts.values())

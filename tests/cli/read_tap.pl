# SPDX-License-Identifier: BSD-2-Clause
#
# What TAP::Parser makes of standard input: tests planned, run, not ok, skipped, errors of the text.
use strict;
use warnings;
use TAP::Parser;

my $text = do { local $/; <STDIN> };
my $parser = TAP::Parser->new({ tap => $text });
while (my $result = $parser->next) { }
printf "%d %d %d %d %d\n", $parser->tests_planned, $parser->tests_run,
    scalar $parser->actual_failed, scalar $parser->skipped, scalar $parser->parse_errors;

# Reads the output of one or more runs of `cargo test --no-fail-fast` and prints a summary: each failed test with the command that runs it alone,
# test programs that ended without a result, and the totals as the last line. `status` is the exit code of cargo. The commands
# name no package: with `-p`, cargo chooses other features and compiles most dependencies again.

# "Running unittests src/lib.rs (target/debug/deps/roost_core-0123)", "Running tests/http.rs (target/debug/deps/http-0123)"
/^ +Running / {
    program = $NF
    gsub(/[()]/, "", program)
    sub(/.*\//, "", program)
    sub(/-[0-9a-f]+$/, "", program)
    package = program
    gsub(/_/, "-", package)
    if ($2 != "unittests") target = selector = "--test " program
    else {
        selector = $3 ~ /main\.rs$/ ? "--bins" : "--lib"
        target = "-p " package " " selector
    }
    failures = 0
}
/^ +Doc-tests / {
    package = $2
    gsub(/_/, "-", package)
    selector = "--doc"
    target = "-p " package " " selector
    failures = 0
}

# The output of failed tests and then the list of their names both begin with "failures:"; the last one counts.
/^failures:$/ {
    failures = 1
    listed = 0
}
failures && /^    [^ ]+$/ { list[++listed] = $1 }

/^test result: / {
    for (i = 1; failures && i <= listed; i++) {
        failed[++failed_count] = selector " " list[i]
        with_result[target] = 1
    }
    passed += $4
    reported_failed += $6
    ignored += $8
    # Another run may have run what this one filtered out.
    if (!(target in tests)) programs++
    tests[target] = $4 + $6 + $8 + $12
    run[target] += $4 + $6 + $8
    failures = 0
    listed = 0
}

# Cargo's own list: "    `-p roost-tests --test http`"
/^ +`-p .*`$/ {
    listed_target = $0
    gsub(/^ +`|`$/, "", listed_target)
    targets[++target_count] = listed_target
}
/^error: could not compile/ { not_compiled = 1 }

END {
    print ""
    if (not_compiled) print "The tests do not compile; the errors are above."
    for (i = 1; i <= failed_count; i++) {
        if (i == 1) print "FAILED TESTS, each with the command that runs it alone:"
        print "  tests/run " failed[i] " -- --exact"
    }
    for (i = 1; i <= target_count; i++) {
        target = targets[i]
        if (target ~ / --test /) sub(/^-p [^ ]+ /, "", target)
        if (!(target in with_result)) {
            sub(/^-p [^ ]+ /, "", target)
            print "ENDED WITHOUT A RESULT (a crash, or it was killed):"
            print "  tests/run " target
        }
    }
    if (status != 0 && !not_compiled && failed_count == 0 && target_count == 0) print "cargo test failed; see above."
    for (target in tests) filtered += tests[target] - run[target]
    printf "test result: %s. %d passed; %d failed; %d ignored; %d filtered out; %d test programs\n", \
        (status == 0 ? "ok" : "FAILED"), passed, reported_failed, ignored, filtered, programs
}

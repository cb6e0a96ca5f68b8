# Numbers in, CSV out: each number, its prime factors, and whether it is prime.
# Trial division with the numbers that are not multiples of 2, 3 or 5.

BEGIN {
    limit = 9007199254740992  # 2^53: from there on awk's numbers are not exact
    wheel = split("4 2 4 2 4 6 2 6", step)
    print "number,factors,prime"
}

# Comments and empty lines
/^[ \t]*(#|$)/ { next }

$1 !~ /^[0-9]+$/ || $1 < 2 || $1 >= limit {
    printf "line %d: '%s' is not a whole number from 2 to 2^53 - 1\n", NR, $1 | "cat >&2"
    exit 1
}

{
    factors = factor($1)
    printf "%s,%s,%s\n", $1, factors, factors ~ / / ? "no" : "yes"
}

# The prime factors of n, separated by spaces.
function factor(n,    found, p, i) {
    found = ""
    for (p = 2; p <= 5; p += p == 2 ? 1 : 2)
        while (n % p == 0) {
            found = found sprintf("%.0f ", p)
            n /= p
        }
    p = 7
    i = 1
    while (p * p <= n) {
        if (n % p == 0) {
            found = found sprintf("%.0f ", p)
            n /= p
        } else {
            p += step[i]
            i = i % wheel + 1
        }
    }
    if (n > 1)
        found = found sprintf("%.0f", n)
    sub(/ $/, "", found)
    return found
}

# Lehmer random number generator with the parameters of Park and Miller.  It is used in
# place of rand() because every implementation of awk computes the same numbers.
function next_number() {
    state = (state * 16807) % 2147483647
    return state
}

BEGIN {
    state = seed + 1
    # Skip the first random numbers, which depend too much on the seed.
    for (i = 0; i < 100; i++) next_number()
    x = y = 0
    for (step = 1; step <= steps; step++) {
        # Use the high digits of the number, which are more random than the low digits.
        way = int(next_number() / 536870912)
        if (way == 0) x++
        else if (way == 1) x--
        else if (way == 2) y++
        else y--
        if (step % 1000 == 0) {
            print step "/" steps >"progress"
            close("progress")
        }
    }
    print "seed,x,y"
    print seed "," x "," y
}

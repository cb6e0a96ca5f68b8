# Lehmer's generator with Park and Miller's numbers, which every awk computes exactly;
# its own rand() differs from one awk to the next.
function next_number() {
    state = (state * 16807) % 2147483647
    return state
}

BEGIN {
    state = seed + 1
    # Its first numbers tell too much about the seed.
    for (i = 0; i < 100; i++) next_number()
    x = y = 0
    for (step = 1; step <= steps; step++) {
        # Its high digits: the low ones are less random.
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

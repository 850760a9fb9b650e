package gemm

import "math/rand/v2"

func zzOther(r *rand.Rand, name string, v [9]int) func() { panic(name) }

package gemm

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// reads shape lines from stdin, answers with min and median microseconds over runs
func TestZZCmp(t *testing.T) {
	if os.Getenv("ZZCMP") == "" {
		t.Skip()
	}
	sc := bufio.NewScanner(os.Stdin)
	r := rand.New(rand.NewPCG(1, 2))
	runs := map[string]func(){}
	for sc.Scan() {
		line := sc.Text()
		f, ok := runs[line]
		if !ok {
			fs := strings.Fields(line)
			var v [9]int
			for i, s := range fs[1:] {
				fmt.Sscan(s, &v[i])
			}
			switch fs[0] {
			case "mm":
				m, n, k := v[0], v[1], v[2]
				a, b, c := RowMajor(fill(r, make([]float32, m*k)), m, k), RowMajor(fill(r, make([]float32, k*n)), k, n), RowMajor(make([]float32, m*n), m, n)
				pb := PackB(b)
				f = func() { GemmPackedB(c, a, pb, Options[float32]{}) }
			case "mmd":
				m, n, k := v[0], v[1], v[2]
				a, b, c := RowMajor(fill(r, make([]float32, m*k)), m, k), RowMajor(fill(r, make([]float32, k*n)), k, n), RowMajor(make([]float32, m*n), m, n)
				scratch := make([]float32, Scratch[float32](m, n, k, 1))
				f = func() { Gemm(c, a, b, Options[float32]{Scratch: scratch}) }
			case "conv": // in out groups kernel stride size
				p := ConvParams{In: v[0], Out: v[1], Groups: v[2], Kernel: [2]int{v[3], v[3]}, Stride: [2]int{v[4], v[4]}, Dilation: [2]int{1, 1}, Pad: [4]int{v[3] / 2, v[3] / 2, v[3] / 2, v[3] / 2}}
				p.Clamp, p.Lo, p.Hi = true, 0, 6
				c, err := NewConv(p, fill(r, make([]float32, p.Out*p.In/p.Groups*v[3]*v[3])), fill(r, make([]float32, p.Out)))
				if err != nil {
					t.Fatal(err)
				}
				oh, ow := c.OutputSize(v[5], v[5])
				src, dst := fill(r, make([]float32, p.In*v[5]*v[5])), make([]float32, p.Out*oh*ow)
				scratch := make([]float32, c.Scratch(v[5], v[5], 1))
				f = func() { c.Run(dst, src, 1, v[5], v[5], scratch, nil) }
			default:
				f = zzOther(r, fs[0], v)
			}
			runs[line] = f
			f()
		}
		best := time.Hour
		for start := time.Now(); time.Since(start) < 30*time.Millisecond; {
			s := time.Now()
			f()
			best = min(best, time.Since(s))
		}
		fmt.Printf("ANS %.2f\n", float64(best.Nanoseconds())/1e3)
	}
}

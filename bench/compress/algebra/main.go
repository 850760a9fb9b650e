// Command algebra decomposes a tensor each time it reads a line, and answers with the milliseconds it took: the counterpart of
// peers.py, which says what is asked for. Arguments: svd|cp|tucker FILE RANK SWEEPS OUT DIM... ; FILE holds float32 elements.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/onnxopt/onnxopt/internal/linalg"
)

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "algebra:", err)
		os.Exit(1)
	}
}

func serve(args []string) error {
	if len(args) < 7 {
		return fmt.Errorf("%d arguments", len(args))
	}
	raw, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	x := make([]float32, len(raw)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	var dims []int
	for _, a := range append([]string{args[2], args[3]}, args[5:]...) {
		d, err := strconv.Atoi(a)
		if err != nil {
			return err
		}
		dims = append(dims, d)
	}
	rank, sweeps, dims := dims[0], dims[1], dims[2:]
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		begun := time.Now()
		out, err := decompose(args[0], x, dims, rank, sweeps)
		took := time.Since(begun)
		if err != nil {
			return err
		}
		var b []byte
		for _, v := range out() {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		if err := os.WriteFile(args[4], b, 0o600); err != nil {
			return err
		}
		fmt.Println(float64(took.Microseconds()) / 1000)
	}
	return lines.Err()
}

// decompose returns what the decomposition stands for, to be computed outside the time measured.
func decompose(what string, x []float32, dims []int, rank, sweeps int) (func() []float32, error) {
	switch what {
	case "svd":
		r, err := linalg.TruncatedSVD(linalg.Of(dims[0], dims[1], x), rank, linalg.SVDOptions{})
		if err != nil {
			return nil, err
		}
		return func() []float32 {
			u := r.U.Clone()
			for i := range u.Rows {
				for j := range u.Row(i) {
					u.Row(i)[j] *= float32(r.S[j])
				}
			}
			return linalg.Mul(u.View(), r.V.View().T(), nil).Data
		}, nil
	case "cp":
		r, err := linalg.CPALS(x, dims, rank, linalg.CPOptions{Sweeps: sweeps, Tolerance: -1, Starts: 1})
		if err != nil {
			return nil, err
		}
		return r.Tensor, nil
	case "tucker":
		r, err := linalg.TuckerHOOI(x, dims[0], dims[1], dims[2]*dims[3], rank, rank, linalg.TuckerOptions{Sweeps: sweeps, Tolerance: -1})
		if err != nil {
			return nil, err
		}
		return r.Tensor, nil
	}
	return nil, fmt.Errorf("unknown decomposition %q", what)
}

package infer_test

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/stretchr/testify/assert"
)

// evaluate is the value of a size as peers or inference spell it: a number, a symbol, or an expression over symbols. ok is false if it
// is none, or has a name that is no symbol.
func evaluate(s string, symbols map[string]int64) (v int64, ok bool) {
	s = strings.Trim(s, `"`)
	if n, found := symbols[s]; found {
		return n, true
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	p := &expression{rest: s, symbols: symbols}
	r := p.sum()
	if p.failed || strings.TrimSpace(p.rest) != "" || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), true
}

// expression is a reader of an expression: sums, products, quotients, calls of floor and the like. Division is exact, as in sympy.
type expression struct {
	rest    string
	symbols map[string]int64
	failed  bool
}

func (p *expression) fail() *big.Rat {
	p.failed, p.rest = true, ""
	return big.NewRat(1, 1)
}

// accept skips one of the characters.
func (p *expression) accept(chars string) byte {
	p.rest = strings.TrimLeft(p.rest, " ")
	if p.rest == "" || !strings.Contains(chars, p.rest[:1]) {
		return 0
	}
	c := p.rest[0]
	p.rest = p.rest[1:]
	return c
}

func (p *expression) sum() *big.Rat {
	v := p.product()
	for {
		switch p.accept("+-") {
		case '+':
			v = new(big.Rat).Add(v, p.product())
		case '-':
			v = new(big.Rat).Sub(v, p.product())
		default:
			return v
		}
	}
}

func (p *expression) product() *big.Rat {
	v := p.factor()
	for {
		switch p.accept("*/") {
		case '*':
			v = new(big.Rat).Mul(v, p.factor())
		case '/':
			d := p.factor()
			if d.Sign() == 0 {
				return p.fail()
			}
			v = new(big.Rat).Quo(v, d)
		default:
			return v
		}
	}
}

func (p *expression) factor() *big.Rat {
	switch {
	case p.accept("-") != 0:
		return new(big.Rat).Neg(p.factor())
	case p.accept("(") != 0:
		v := p.sum()
		if p.accept(")") == 0 {
			return p.fail()
		}
		return v
	case p.accept("'") != 0:
		name, rest, ok := strings.Cut(p.rest, "'")
		if n, found := p.symbols[name]; ok && found {
			p.rest = rest
			return big.NewRat(n, 1)
		}
		return p.fail()
	}
	end := strings.IndexAny(p.rest+" ", " +-*/(),")
	name := p.rest[:end]
	p.rest = p.rest[end:]
	if n, ok := p.symbols[name]; ok {
		return big.NewRat(n, 1)
	}
	if p.accept("(") != 0 {
		return p.call(name)
	}
	if v, ok := new(big.Rat).SetString(name); ok {
		return v
	}
	return p.fail()
}

func (p *expression) call(name string) *big.Rat {
	args := []*big.Rat{p.sum()}
	for p.accept(",") != 0 {
		args = append(args, p.sum())
	}
	if p.accept(")") == 0 {
		return p.fail()
	}
	x, y := args[0], args[len(args)-1]
	floor := func(x *big.Rat) *big.Rat { return new(big.Rat).SetInt(new(big.Int).Div(x.Num(), x.Denom())) } // of a positive denominator
	switch {
	case name == "floor":
		return floor(x)
	case name == "ceiling":
		return new(big.Rat).Neg(floor(new(big.Rat).Neg(x)))
	case name == "trunc":
		return new(big.Rat).SetInt(new(big.Int).Quo(x.Num(), x.Denom()))
	case (name == "Max" || name == "max") == (x.Cmp(y) >= 0) && strings.EqualFold(name, "max"), strings.EqualFold(name, "min") && x.Cmp(y) <= 0:
		return x
	case strings.EqualFold(name, "max"), strings.EqualFold(name, "min"):
		return y
	case name == "broadcast" && x.Cmp(big.NewRat(1, 1)) != 0:
		return x
	case name == "broadcast":
		return y
	}
	return p.fail()
}

func TestEvaluate(t *testing.T) {
	symbols := map[string]int64{"N": 7, "p2o.Dim.0": 10}
	for text, want := range map[string]string{
		"3":                                   "3",
		`"N"`:                                 "7",
		"2*N - 3":                             "11",
		"-N + 3*(N - 1)":                      "11",
		"floor(N/2 - 1/2) + 1":                "4",
		"floor(-N/2)":                         "-4",
		"ceiling(N/2)":                        "4",
		"trunc(-N/2)":                         "-3",
		"Max(N, 9)":                           "9",
		"max(N - 9, 0)":                       "0",
		"min(N, 2)":                           "2",
		"broadcast(1, N)":                     "7",
		"p2o.Dim.0":                           "10",
		"floor('p2o.Dim.0'/4)":                "2",
		"floor(floor(p2o.Dim.0/2 - 1/2)/2)*2": "4",
		"?":                                   "unknown",
		"unk__0":                              "unknown",
		"N + unk__0":                          "unknown",
		"N/0":                                 "unknown",
		"(N":                                  "unknown",
	} {
		got := "unknown"
		if v, ok := evaluate(text, symbols); ok {
			got = fmt.Sprint(v)
		}
		assert.Equal(t, want, got, text)
	}
}

// inputSymbols gives each symbol of the inputs of m a size. Names that some exporters write for every size they do not know are no symbols.
func inputSymbols(m *ir.Model, round int64) map[string]int64 {
	r := map[string]int64{}
	for _, in := range m.Main.Inputs() {
		_, t := inner(in.Type())
		for _, d := range t.TensorShape() {
			if _, seen := r[d.Param]; !seen && strings.Trim(d.Param, "?") != "" {
				r[d.Param] = 64 + 32*(int64(len(r))+round)
			}
		}
	}
	return r
}

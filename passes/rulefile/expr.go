package rulefile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// value of an expression: a float64, a string, a bool, or a list of values.
type value any

// unknownError says that something a condition needs is not known of the model.
type unknownError struct{ what string }

func (u *unknownError) Error() string { return u.what + " is not known" }

// scope gives names and functions their values. A nil scope is for checking.
type scope interface {
	attr(name string) (value, error)
	call(f string, args []arg) (value, error)
}

// arg is an argument of a function: the name of a value of the pattern, or a number.
type arg struct {
	name string
	num  float64
}

// expr is a node of an expression.
type expr interface {
	eval(s scope) (value, error)
}

type (
	constant struct{ v value }
	attrRef  struct{ name string }
	callExpr struct {
		f    string
		args []arg
	}
	listExpr []expr
	unary    struct {
		op string
		x  expr
	}
	binary struct {
		op   string
		x, y expr
	}
)

func (c constant) eval(scope) (value, error)   { return c.v, nil }
func (a attrRef) eval(s scope) (value, error)  { return s.attr(a.name) }
func (c callExpr) eval(s scope) (value, error) { return s.call(c.f, c.args) }

func (l listExpr) eval(s scope) (value, error) {
	r := []value{}
	for _, x := range l {
		v, err := x.eval(s)
		if err != nil {
			return nil, err
		}
		r = append(r, v)
	}
	return r, nil
}

func (u unary) eval(s scope) (value, error) {
	v, err := u.x.eval(s)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case bool:
		if u.op == "not" {
			return !v, nil
		}
	case float64:
		if u.op == "-" {
			return -v, nil
		}
	}
	return nil, fmt.Errorf("%s does not apply to %v", u.op, v)
}

func (b binary) eval(s scope) (value, error) {
	x, err := b.x.eval(s)
	if b.op == "and" || b.op == "or" {
		return b.logic(s, x, err)
	}
	if err != nil {
		return nil, err
	}
	y, err := b.y.eval(s)
	if err != nil {
		return nil, err
	}
	switch b.op {
	case "==":
		return same(x, y), nil
	case "!=":
		return !same(x, y), nil
	case "in":
		l, ok := y.([]value)
		if !ok {
			return nil, fmt.Errorf("in needs a list")
		}
		return slices.ContainsFunc(l, func(z value) bool { return same(x, z) }), nil
	}
	p, ok1 := x.(float64)
	q, ok2 := y.(float64)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("%s needs numbers", b.op)
	}
	return arithmetic(b.op, p, q)
}

// logic is and and or in Kleene's logic: what is not known may not matter.
func (b binary) logic(s scope, x value, err error) (value, error) {
	decided := b.op == "or"
	if err != nil {
		if _, unknown := err.(*unknownError); !unknown {
			return nil, err
		}
	} else if p, ok := x.(bool); !ok {
		return nil, fmt.Errorf("%s needs conditions", b.op)
	} else if p == decided {
		return decided, nil
	}
	y, err2 := b.y.eval(s)
	if err2 != nil {
		return nil, err2
	}
	q, ok := y.(bool)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s needs conditions", b.op)
	case q == decided:
		return decided, nil
	case err != nil:
		return nil, err
	}
	return !decided, nil
}

func arithmetic(op string, p, q float64) (value, error) {
	switch op {
	case "<":
		return p < q, nil
	case "<=":
		return p <= q, nil
	case ">":
		return p > q, nil
	case ">=":
		return p >= q, nil
	case "+":
		return p + q, nil
	case "-":
		return p - q, nil
	case "*":
		return p * q, nil
	}
	if q == 0 {
		return nil, fmt.Errorf("division by zero")
	}
	if op == "/" {
		return p / q, nil
	}
	return p - q*float64(int64(p/q)), nil
}

func same(x, y value) bool {
	a, ok1 := x.([]value)
	b, ok2 := y.([]value)
	if ok1 != ok2 {
		return false
	}
	if ok1 {
		return slices.EqualFunc(a, b, same)
	}
	return x == y
}

// condition is one line of a where block.
type condition struct {
	text string
	x    expr
}

// holds is nil if the condition holds, else why it does not.
func (c condition) holds(s scope) error {
	v, err := c.x.eval(s)
	if err != nil {
		return err
	}
	if b, ok := v.(bool); !ok || !b {
		return fmt.Errorf("%s does not hold", c.text)
	}
	return nil
}

// exprParser is a recursive-descent parser of conditions. The first error sticks.
type exprParser struct {
	toks []string
	err  error
	deep int
}

// maxDeep bounds how deep conditions nest.
const maxDeep = 100

func parseCondition(s string) (condition, error) {
	toks, err := tokens(s)
	if err != nil {
		return condition{}, err
	}
	p := &exprParser{toks: toks}
	x := p.or()
	if p.err == nil && len(p.toks) > 0 {
		p.fail("%q is not expected here", p.toks[0])
	}
	return condition{s, x}, p.err
}

// tokens splits a condition.
func tokens(s string) (r []string, err error) {
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		n := 0
		switch c := s[0]; {
		case c == '"':
			q, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, fmt.Errorf("a string is not closed")
			}
			n = len(q)
		case letter(c):
			for n < len(s) && (letter(s[n]) || digit(s[n])) {
				n++
			}
		case digit(c) || c == '.':
			for n < len(s) && (digit(s[n]) || s[n] == '.' || letter(s[n]) || (s[n] == '-' || s[n] == '+') && (s[n-1] == 'e' || s[n-1] == 'E')) {
				n++
			}
		case len(s) > 1 && slices.Contains([]string{"==", "!=", "<=", ">="}, s[:2]):
			n = 2
		case strings.IndexByte("<>+-*/%()[],", c) >= 0:
			n = 1
		default:
			return nil, fmt.Errorf("%q cannot stand in a condition", c)
		}
		r = append(r, s[:n])
		s = s[n:]
	}
	return r, nil
}

func letter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

func (p *exprParser) fail(format string, a ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, a...)
	}
	p.toks = nil
}

func (p *exprParser) peek() string {
	if len(p.toks) == 0 {
		return ""
	}
	return p.toks[0]
}

func (p *exprParser) accept(words ...string) string {
	if t := p.peek(); t != "" && slices.Contains(words, t) {
		p.toks = p.toks[1:]
		return t
	}
	return ""
}

func (p *exprParser) expect(w string) {
	if p.accept(w) == "" {
		p.fail("expected %q, found %q", w, p.peek())
	}
}

func (p *exprParser) chain(next func() expr, ops ...string) expr {
	x := next()
	for {
		op := p.accept(ops...)
		if op == "" {
			return x
		}
		x = binary{op, x, next()}
	}
}

func (p *exprParser) or() expr  { return p.chain(p.and, "or") }
func (p *exprParser) and() expr { return p.chain(p.not, "and") }

func (p *exprParser) not() expr {
	if p.accept("not") != "" {
		if p.deep++; p.deep > maxDeep {
			p.fail("it nests too deep")
			return constant{false}
		}
		defer func() { p.deep-- }()
		return unary{"not", p.not()}
	}
	x := p.sum()
	if op := p.accept("==", "!=", "<", "<=", ">", ">=", "in"); op != "" {
		return binary{op, x, p.sum()}
	}
	return x
}

func (p *exprParser) sum() expr  { return p.chain(p.term, "+", "-") }
func (p *exprParser) term() expr { return p.chain(p.factor, "*", "/", "%") }

func (p *exprParser) factor() expr {
	if p.deep++; p.deep > maxDeep {
		p.fail("it nests too deep")
		return constant{false}
	}
	defer func() { p.deep-- }()
	switch t := p.peek(); {
	case t == "":
		p.fail("it ends too early")
	case t == "-":
		p.accept("-")
		return unary{"-", p.factor()}
	case t == "(":
		p.accept("(")
		x := p.or()
		p.expect(")")
		return x
	case t == "[":
		p.accept("[")
		l := listExpr{}
		for p.err == nil && p.accept("]") == "" {
			l = append(l, p.sum())
			if p.peek() != "]" {
				p.expect(",")
			}
		}
		return l
	case t[0] == '"':
		p.accept(t)
		s, err := strconv.Unquote(t)
		if err != nil {
			p.fail("%s is no string", t)
		}
		return constant{s}
	case digit(t[0]) || t[0] == '.':
		p.accept(t)
		f, err := strconv.ParseFloat(t, 64)
		if err != nil {
			p.fail("%q is no number", t)
		}
		return constant{f}
	case letter(t[0]):
		return p.named(p.accept(t))
	default:
		p.fail("%q is not expected here", t)
	}
	return constant{false}
}

// named is a name, or a call of a function.
func (p *exprParser) named(name string) expr {
	switch {
	case name == "true" || name == "false":
		return constant{name == "true"}
	case p.accept("(") == "":
		return attrRef{name}
	}
	c := callExpr{f: name}
	for p.err == nil && p.accept(")") == "" {
		sign := 1.0
		if p.accept("-") != "" {
			sign = -1
		}
		t := p.peek()
		switch {
		case t != "" && digit(t[0]):
			f, err := strconv.ParseFloat(t, 64)
			if err != nil {
				p.fail("%q is no number", t)
			}
			c.args = append(c.args, arg{num: sign * f})
		case t != "" && letter(t[0]) && sign > 0:
			c.args = append(c.args, arg{name: t})
		default:
			p.fail("%q is no argument of %s", t, name)
		}
		p.accept(t)
		if p.peek() != ")" {
			p.expect(",")
		}
	}
	return c
}

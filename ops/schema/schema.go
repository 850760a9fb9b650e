// Package schema is what the ONNX standard says of each version of each operator: operands, results, attributes, types. It also
// has operators of domain com.microsoft, as ONNX Runtime registers them. The table is static data made from the standard's own schemas
// and ONNX Runtime's; nothing is built when a program starts.
package schema

import (
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

//go:generate go run ../_gen -o table_gen.go

// Unbounded is the maximum of a variadic operator's number of operands or results.
const Unbounded = 255

// Schema is one version of an operator. Schemas are static: pointers may be compared.
type Schema struct {
	op                           uint16
	since                        uint8
	minIn, maxIn, minOut, maxOut uint8
	flags                        uint8
	in, out, attrs               span
	traits                       Trait
}

// span is a range of one of the generated lists.
type span struct {
	first uint16
	n     uint8
}

const (
	flagDeprecated uint8 = 1 << iota
	flagFunction
)

// opRow is an operator and the range of its versions, ascending, in schemaTable.
type opRow struct {
	name, domain string
	versions     span
}

// Option says how often a parameter occurs.
type Option uint8

// The options.
const (
	Single Option = iota
	Optional
	Variadic
)

// Param is a formal operand or result.
type Param struct {
	Name     string
	Var      string // type variable, or a type such as "tensor(int64)" where there is only one
	Option   Option
	Mixed    bool  // variadic whose values may have different types
	MinArity uint8 // variadic: the smallest number of values
	types    uint8
}

// Types is the set of types the parameter may have.
func (p *Param) Types() *TypeSet { return &typeSets[p.types] }

// Lookup is the newest schema of op that is not newer than opset, nil if there is none: the operator is unknown, came later, or
// is a function's overload.
func Lookup(op ir.OpID, opset int64) *Schema {
	return newest(Versions(op), opset)
}

func newest(v []Schema, opset int64) *Schema {
	for i := len(v) - 1; i >= 0; i-- {
		if int64(v[i].since) <= opset {
			return &v[i]
		}
	}
	return nil
}

// Versions are the schemas of op, oldest first; none if the operator is unknown.
func Versions(op ir.OpID) []Schema {
	if op.Overload != "" {
		return nil
	}
	if op.Type == "" {
		return nil
	}
	lo, hi := int(firstOp[op.Type[0]]), int(firstOp[int(op.Type[0])+1])
	domain := ir.Domain(op.Domain)
	for lo < hi {
		switch i := (lo + hi) / 2; opTable[i].compare(op.Type, domain) {
		case 0:
			s := opTable[i].versions
			return schemaTable[s.first : int(s.first)+int(s.n)]
		case 1:
			hi = i
		default:
			lo = i + 1
		}
	}
	return nil
}

// compare is how r stands to an operator in opTable.
func (r *opRow) compare(name, domain string) int {
	if c := strings.Compare(r.name, name); c != 0 {
		return c
	}
	return strings.Compare(r.domain, domain)
}

// firstOp is where the operators begin whose name has that first byte, or a larger one.
var firstOp = func() (first [257]uint16) {
	for b := range first {
		first[b] = uint16(len(opTable))
	}
	for i := len(opTable) - 1; i >= 0; i-- {
		for b := int(opTable[i].name[0]); b >= 0 && first[b] > uint16(i); b-- {
			first[b] = uint16(i)
		}
	}
	return first
}()

// All are the schemas of all operators, sorted by name, domain and version. The caller must not change them.
func All() []Schema { return schemaTable[:] }

// Newest is the newest version of a domain's operator set that the table knows, 0 for a domain it does not know.
func Newest(domain string) int64 {
	for _, d := range domainTable {
		if d.Domain == ir.Domain(domain) {
			return d.Version
		}
	}
	return 0
}

// Complete reports whether the table has every operator of the domain up to Newest, so that one it does not have does not exist. It
// is false for domains that it does not know, and for com.microsoft, of which it has a part.
func Complete(domain string) bool { return Newest(domain) > 0 && domain != "com.microsoft" }

// Op is the operator.
func (s *Schema) Op() ir.OpID { return ir.OpID{Domain: opTable[s.op].domain, Type: opTable[s.op].name} }

// Since is the version of the operator set that introduced this meaning.
func (s *Schema) Since() int64 { return int64(s.since) }

// Deprecated reports whether this version withdraws the operator.
func (s *Schema) Deprecated() bool { return s.flags&flagDeprecated != 0 }

// HasFunction reports whether the standard defines the operator by a function over others.
func (s *Schema) HasFunction() bool { return s.flags&flagFunction != 0 }

// Inputs are the formal operands. The caller must not change them.
func (s *Schema) Inputs() []Param { return paramTable[s.in.first : int(s.in.first)+int(s.in.n)] }

// Outputs are the formal results. The caller must not change them.
func (s *Schema) Outputs() []Param { return paramTable[s.out.first : int(s.out.first)+int(s.out.n)] }

// Input is the formal operand that operand i belongs to, nil if there is none.
func (s *Schema) Input(i int) *Param { return param(s.Inputs(), i) }

// Output is the formal result that result i belongs to, nil if there is none.
func (s *Schema) Output(i int) *Param { return param(s.Outputs(), i) }

func param(p []Param, i int) *Param {
	last := len(p) - 1
	switch {
	case i < 0 || last < 0:
		return nil
	case i <= last:
		return &p[i]
	case p[last].Option == Variadic:
		return &p[last]
	}
	return nil
}

// NumInputs are the smallest and the largest number of operands; Unbounded if there is no largest.
func (s *Schema) NumInputs() (least, most int) { return int(s.minIn), int(s.maxIn) }

// NumOutputs are the smallest and the largest number of results; Unbounded if there is no largest.
func (s *Schema) NumOutputs() (least, most int) { return int(s.minOut), int(s.maxOut) }

// Traits are the operator's traits in this version.
func (s *Schema) Traits() Trait { return s.traits }

// Has reports whether s has all traits of t. It is safe on nil.
func (s *Schema) Has(t Trait) bool { return s != nil && s.traits&t == t }

// Of is the schema of n in the operator set that n's graph imports, nil for an unknown operator, a call of a model-local function,
// and an operator set newer than the table.
func Of(n *ir.Node) *Schema {
	op := n.Op()
	v := Versions(op)
	if v == nil {
		return nil
	}
	g := n.Graph()
	opset := g.Opset(op.Domain)
	if opset > Newest(op.Domain) || g.Model().Function(op) != nil {
		return nil
	}
	return newest(v, opset)
}

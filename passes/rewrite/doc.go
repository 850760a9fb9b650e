// Package rewrite is the pattern language and the driver of rewrite rules.
//
// A rule is a pattern in ONNX's textual syntax, a condition and a replacement:
//
//	var doubleNeg = &rewrite.Rule{
//		Name: "double-neg",
//		Doc:  "removes a negation of a negation",
//		Match: rewrite.MustParse(`
//			y = Neg (x)
//			z = Neg (y)`),
//		Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
//			return []*ir.Value{m.Value("x")}
//		},
//	}
//
//	var Pass = rewrite.Define(passes.Info{Name: "double-neg", Doc: "removes pairs of negations"}, doubleNeg)
//
// # Patterns
//
// A pattern is a list of nodes. The last one is the root; the others are reached from it through operands. Names that no
// node of the pattern defines are captures. The notation is that of ONNX with these additions:
//
//	{Conv, ConvTranspose} (x, w)    any of these operators
//	Conv (x, w, b?)                 an operand that may be omitted
//	Concat (xs...)                  all remaining operands
//	Conv (x, w: const)              a constant; "w: scalar" is a constant of one element
//	Pow (x, 2)                      a constant of one element with this value, in the constant's own type
//	Clip (x, , max)                 an operand that must be omitted, as ONNX writes it
//	Softmax <axis = 1> (x)          an attribute with this value, stated or by default
//	Softmax <axis = @axis> (x)      an attribute whose value, stated or by default, is captured
//	Conv <...> (x, w)               other attributes may have any value
//	y: shared = Conv (x, w)         an interior value that may have other uses
//	y: result = Add (x, r)          an interior value that is replaced, too
//
// A name that stands twice stands for the same value, or for equal attributes. Operands of commutative operators match in either order.
// The list of operands is complete: a node with more of them does not match.
//
// # What the driver answers for
//
// A rule is safe unless it says otherwise:
//
//   - A node matches only if it is a plain operator: no model-local function of that name, no attribute that refers to a
//     function's, all nodes of a match in one graph.
//   - Attributes that the pattern does not mention have their defaults, unless it says "...".
//   - An interior value has no use outside the match, unless it is marked shared or result. Graph outputs and captures of
//     subgraphs are uses. Results that the pattern does not name have no use at all.
//   - The replacement has one value for each replaced one: the root's named results, then those marked result in the order
//     of the text. Element types and shapes do not contradict. What it is made of is part of the match or new, so that
//     no cycle can come about and nothing out of sight is used. Its operators exist in the opset in force. A replacement
//     that does not do is taken back, and a remark says why.
//   - Matched nodes are erased if nothing uses them any more, and so are constants that lost their last use to the rewrite.
//
// Rules are tried in the order in which they are listed; the first that applies wins. The driver visits each node once and
// again whenever something near it changed, until nothing does.
package rewrite

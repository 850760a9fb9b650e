// Package rulefile reads rewrite rules from a text, so that nobody has to write Go for one. A file is a list of rules:
//
//	rule sub-neg "turns x - (-y) into x + y"
//	match {
//	   n: shared = Neg (y)
//	   z = Sub (x, n)
//	}
//	replace {
//	   z = Add (x, y)
//	}
//
// The parts of a rule are
//
//	promise 1e-5      how far the numbers may move, max|a-b| / max(max|a|, 1e-6); left out: the same bits
//	match {...}       a pattern in the notation of package passes/rewrite
//	where {...}       conditions, one a line, all of which have to hold; may be left out
//	samples {...}     types and attributes under which the rule is tested, one sample a line; may be left out
//	replace {...}     nodes in ONNX's textual syntax, which define the results of the pattern's last node and those marked result
//
// # Conditions
//
// A condition compares numbers and strings by == != < <= > >=, "in [a, b]", joined by and, or, not, with + - * / % and parentheses. Names are
// attributes that the pattern captures (axis = @axis), numbers, strings and lists as they are. Functions of values are
//
//	rank(x)  dim(x, i)  elements(x)  dtype(x)   "float", "int64", ...; a negative i counts from the end
//	value(x)                                    the only element of a constant
//	is_const(x)  has(x)                         has: of an optional operand
//	same_shape(x, y)  same_type(x, y)
//	opset()
//
// Where something is not known, a condition that needs it does not hold, and a remark says so.
//
// # Replacements
//
// Operands are names of the pattern and of the replacement; a variadic capture stands for all its values. <axis = @axis> takes a captured
// attribute. Identity gives a value another name and makes no node. Constant nodes become constants, and
//
//	two = scalar <value = 2.0> (x)
//
// is a constant of one element in the element type of x.
//
// # Trust
//
// Test makes models that match a rule, of many types and shapes, applies the rule and compares the outputs under its promise, for exact rules
// also on NaN, infinities and zeros of both signs.
package rulefile

package text

import "github.com/onnxopt/onnxopt/ir"

func (p *parser) file() *File {
	f := &File{}
	if p.tok.Is("<") {
		f.Header = p.header("model")
	}
	f.Graph = p.graph()
	for p.tok.Kind != EOF && !p.tok.Is("@") {
		f.Functions = append(f.Functions, p.function())
	}
	for p.tok.Is("@") {
		f.Training = append(f.Training, p.training())
	}
	return f
}

func (p *parser) graph() *GraphDecl {
	notes := p.notes()
	return p.graphRest(notes, p.name("the name of a graph"))
}

// graphRest parses a graph whose name has been read.
func (p *parser) graphRest(notes *Notes, name Name) *GraphDecl {
	g := &GraphDecl{Notes: notes, Name: name}
	defer p.leave()
	if !p.enter() {
		return g
	}
	if p.accept("(") {
		p.list(")", func() { g.Inputs = append(g.Inputs, p.value(true)) })
	}
	p.expect("=>")
	p.expect("(")
	p.list(")", func() { g.Outputs = append(g.Outputs, p.value(false)) })
	if p.accept("<") {
		p.list(">", func() { g.Values = append(g.Values, p.value(true)) })
	}
	g.Nodes = p.body()
	return g
}

func (p *parser) body() []*NodeDecl {
	var r []*NodeDecl
	p.expect("{")
	for p.err == nil && !p.accept("}") {
		if !p.named() && !p.tok.Is("[") && !p.tok.Is("=") && !p.tok.Is(",") {
			p.expected("a node or '}'")
		}
		r = append(r, p.node())
	}
	return r
}

func (p *parser) function() *FuncDecl {
	f := &FuncDecl{Notes: p.notes(), Header: &Header{Pos: p.tok.Pos}}
	if p.tok.Is("<") {
		f.Header = p.header("function")
	}
	f.Name = p.name("the name of a function")
	if p.accept("<") {
		p.list(">", func() {
			notes := p.notes()
			n := p.name("the name of an attribute")
			if p.tok.Is(":") || p.tok.Is("=") {
				f.Defaults = append(f.Defaults, p.attrRest(notes, n))
			} else {
				f.Attrs = append(f.Attrs, n)
			}
		})
	}
	p.expect("(")
	p.list(")", func() { f.Inputs = append(f.Inputs, p.value(false)) })
	p.expect("=>")
	p.expect("(")
	p.list(")", func() { f.Outputs = append(f.Outputs, p.value(false)) })
	if p.accept("<") {
		p.list(">", func() { f.Values = append(f.Values, p.value(false)) })
	}
	f.Nodes = p.body()
	return f
}

// training parses an entry of training_info.
func (p *parser) training() *TrainingDecl {
	t := &TrainingDecl{Pos: p.tok.Pos}
	p.expect("@")
	if !p.word("training") {
		p.expected("training")
	}
	if p.accept("<") {
		p.list(">", func() {
			switch {
			case p.word("initialization"):
				p.expect(":")
				t.InitBinding = p.props()
			case p.word("update"):
				p.expect(":")
				t.UpdateBinding = p.props()
			default:
				p.expected("initialization or update")
			}
		})
	}
	if p.word("initialization") {
		t.Initialization = p.graph()
	}
	if p.word("algorithm") {
		t.Algorithm = p.graph()
	}
	return t
}

// word skips the identifier w if it is next.
func (p *parser) word(w string) bool {
	if p.tok.Kind != Ident || p.tok.Text != w {
		return false
	}
	p.next()
	return true
}

// node parses '[' label ']' outs '=' op attrs '(' ins ')' attrs.
func (p *parser) node() *NodeDecl {
	n := &NodeDecl{Notes: p.notes()}
	if p.accept("[") {
		if p.named() {
			n.Label = p.name("").Text
		}
		p.expect("]")
	}
	n.Outputs = p.names()
	p.expect("=")
	n.OpPos = p.tok.Pos
	n.Op = p.op()
	if p.tok.Is("<") {
		n.Attrs = p.attrs()
	}
	p.expect("(")
	n.Inputs = p.names()
	p.expect(")")
	if p.tok.Is("<") {
		if n.Attrs != nil {
			p.fail(p.tok.Pos, "attributes stand before or after the operands, not both")
			return n
		}
		n.Attrs = p.attrs()
	}
	return n
}

// names parses a list of names that may be left out: "" or nothing before a comma. A comma at the end adds nothing.
func (p *parser) names() []Name {
	var r []Name
	for p.named() || p.tok.Is(",") {
		n := Name{Pos: p.tok.Pos}
		if p.named() {
			n = p.name("")
		}
		r = append(r, n)
		if !p.accept(",") {
			break
		}
	}
	return r
}

// op parses [domain '.'] type [':' overload]. Parts that are no identifiers are quoted.
func (p *parser) op() ir.OpID {
	var op ir.OpID
	op.Type = p.name("an operator").Text
	for p.accept(".") {
		if op.Domain != "" {
			op.Domain += "."
		}
		if op.Domain += op.Type; len(op.Domain) > 1000 {
			p.fail(p.tok.Pos, "the operator's domain is too long")
		}
		op.Type = p.name("an operator").Text
	}
	if p.accept(":") {
		op.Overload = p.name("an overload").Text
	}
	if op.Type == "" && p.err == nil {
		p.fail(p.tok.Pos, "the operator's name is empty")
	}
	return op
}

package ir

// SetAttrs replaces all attributes of n at once, where SetAttr would take time for each. Names must be distinct.
func (n *Node) SetAttrs(attrs []*Attr) {
	n.adopt(attrs)
	for _, old := range n.attrs {
		var next *Attr
		for _, a := range attrs {
			if a.Name == old.Name {
				next = a
			}
		}
		n.release(old, next)
	}
	n.attrs = attrs
	n.attrChanged()
}

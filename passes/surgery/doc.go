// Package surgery takes models apart and puts them together: Split and Merge, which concern several models at once. What concerns one
// model is a pass in a directory below: extract, rename, retype, relayout, setshape, setinput,
// expose, inline, strip, randomize.
package surgery

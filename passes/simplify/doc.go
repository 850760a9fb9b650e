// Package simplify is the home of the passes that make a model smaller without changing what it computes. Each directory below
// holds one of them. The test here runs all of them together on random models.
package simplify

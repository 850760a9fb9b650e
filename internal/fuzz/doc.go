// Package fuzz looks for miscompiles: it makes random typed models, runs random pipelines on them, and holds the results to what the
// passes promise.
//
// A Case is made from its number alone, so that a number is a reproducer. Its model begins empty, or as a fixture of a pass with random
// edits; nodes are then added one by one, drawn from the schemas, and from fixtures. A node stays only if its kernel runs on
// samples of its operands, which every value has in two sizes of the free dimensions. So models are valid by construction, and
// near misses of the passes' rules are frequent.
//
// Mutating what the rules are written for, besides generating from a grammar, follows Holler, Herzig and Zeller, "Fuzzing with Code
// Fragments" (USENIX Security 2012); comparing with the unoptimized program is translation validation (Pnueli, Siegel and Singerman, TACAS 1998).
package fuzz

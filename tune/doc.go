// Package tune searches for the lightest pipeline that keeps what a model is good at.
//
// A candidate is the text of a pipeline: what it makes of the model can be made again without the search. The space is put together from
// what applies to the model (Survey): for each group of layers a share of channels to prune, a factorization and its rank, a form with fewer
// products, a type; for the whole model a quantizer, 16-bit floats, fusions, residual branches to leave out, a smaller inside. A strategy
// proposes candidates (Strategy), a race of successive halving measures them on growing parts of the data (Search), and a runner does the
// work (Runner: Bench in this process, package queue on others). Each measurement goes to a log under a key of all that it depends on, so
// that the same search goes on where it ended.
//
// It is architecture search that begins with a trained network: NetAdapt (Yang et al., ECCV 2018) shortens layer by layer under a measured
// budget, AMC (He et al., ECCV 2018) and HAQ (Wang et al., CVPR 2019) choose ratios and types by layer, here with measured sensitivity,
// greedy steps with look-ahead and NSGA-II (Deb et al., 2002) in place of learned agents, and successive halving (Jamieson and Talwalkar,
// 2016) in place of short training.
package tune

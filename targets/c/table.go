package c

// lowerings is what the target can translate.
func lowerings() map[string]lowering {
	r := map[string]lowering{
		"Conv": lowerConv, "MaxPool": lowerPool, "AveragePool": lowerPool, "GlobalAveragePool": lowerGlobalPool, "GlobalMaxPool": lowerGlobalPool,
		"MatMul": lowerMatMul, "Gemm": lowerGemm, "Softmax": lowerSoftmax, "LogSoftmax": lowerSoftmax,
		"LayerNormalization": lowerLayerNorm, "RMSNormalization": lowerLayerNorm, "InstanceNormalization": lowerInstanceNorm, "GroupNormalization": lowerInstanceNorm,
		"Reshape": lowerReshape, "Flatten": lowerReshape, "Squeeze": lowerReshape, "Unsqueeze": lowerReshape,
		"Transpose": lowerTranspose, "Concat": lowerConcat, "Slice": lowerSlice, "Split": lowerSplit, "Pad": lowerPad, "Gather": lowerGather,
		"Expand": lowerExpand, "Tile": lowerTile, "DepthToSpace": lowerDepthToSpace, "SpaceToDepth": lowerSpaceToDepth, "Resize": lowerResize,
		"ConvTranspose": lowerConvTranspose, "LSTM": lowerRecurrent, "GRU": lowerRecurrent, "RNN": lowerRecurrent,
		"QuantizeLinear": lowerQuantize, "DequantizeLinear": lowerDequantize,
		"DynamicQuantizeLinear": lowerDynamicQuantize, "ConvInteger": lowerConvInteger, "MatMulInteger": lowerMatMulInteger,
		"BatchNormalization": refuseBatchNorm,
		"ArgMax":             lowerArg, "ArgMin": lowerArg,
	}
	for _, op := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum"} {
		r[op] = lowerReduce
	}
	for op := range formulas() {
		r[op] = lowerElementwise
	}
	for op := range floatFormulas() {
		r[op] = lowerElementwise
	}
	for _, op := range []string{"Clip", "LeakyRelu", "HardSigmoid", "Gelu", "Cast", "Elu", "Sum", "Mean", "Dropout"} {
		r[op] = lowerElementwise
	}
	return r
}

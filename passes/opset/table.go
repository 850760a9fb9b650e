package opset

import "strings"

// adapter converts the nodes of an operator across one change of its meaning.
type adapter struct {
	ops     string // names separated by spaces
	at      int64  // the version that brought the change
	up      bool   // from the version before to this one; otherwise back
	convert func(*site)
	refs    []string // attributes that may refer to a function's
}

func up(at int64, ops string, f func(*site), refs ...string) adapter {
	return adapter{ops, at, true, f, refs}
}

func down(at int64, ops string, f func(*site), refs ...string) adapter {
	return adapter{ops, at, false, f, refs}
}

// change is a change of an operator, in one direction.
type change struct {
	op string
	at int64
	up bool
}

// index is the table by operator.
func index() map[change]*adapter {
	r := map[change]*adapter{}
	for _, a := range adapters() {
		for op := range strings.FieldsSeq(a.ops) {
			r[change{op, a.at, a.up}] = &a
		}
	}
	return r
}

// reductions are the reductions whose axes became an operand in version 18; ReduceSum's did in 13.
const reductions = "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare"

// adapters is the table: for each change of an operator's form or meaning, how to get across it. What only widened its types is not in it, and
// neither are attributes that came with a default that says what was before: see form and types.
func adapters() []adapter {
	return []adapter{
		// Versions below 11, from which models can only be converted up.
		up(7, "Add Sub Mul Div Pow And Or Xor Greater Less Equal PRelu", legacyBroadcast),
		up(7, "Gemm", gemm7),
		up(7, "BatchNormalization", inference7),
		up(7, "Dropout", inference7),
		up(9, "BatchNormalization", batchNorm9),
		up(9, "Upsample", upsample9),
		up(9, "Scan", scan9),
		up(10, "Upsample", upsample10),
		up(10, "Slice", slice10),
		up(10, "TopK", topK10),
		up(10, "Dropout", dropout10),
		up(11, "Clip", clip11),
		up(11, "Pad", pad11),
		up(11, "Resize", resize11),
		up(11, "Scatter", scatter11),

		up(12, "Dropout", dropoutUp),
		down(12, "Dropout", dropoutDown),
		down(12, "Constant", constantDown),
		down(12, "ArgMax ArgMin", argDown),
		down(12, "Clip", clipDown),
		down(12, "Max Min", maxDown),
		down(12, "Pow", powDown),
		down(12, "GatherND", gatherNDDown),
		down(12, "Celu", celuDown),
		down(12, "GreaterOrEqual LessOrEqual", orEqualDown),
		down(12, "Einsum", einsumDown),
		down(12, "NegativeLogLikelihoodLoss", nllDown),
		down(12, "SoftmaxCrossEntropyLoss", sceDown),

		up(13, "Squeeze Unsqueeze ReduceSum", axesUp, "axes"),
		down(13, "Squeeze", squeezeDown),
		down(13, "Unsqueeze", unsqueezeDown),
		down(13, "ReduceSum", reduceDown),
		up(13, "Split", splitUp, "split"),
		down(13, "Split", splitDown),
		up(13, "Softmax LogSoftmax Hardmax", softmaxUp),
		down(13, "Softmax LogSoftmax Hardmax", softmaxDown),
		down(13, "QuantizeLinear", quantizeAxisDown),
		down(13, "DequantizeLinear", dequantizeAxisDown),
		up(13, "Resize", resizeUp13),
		down(13, "Resize", resizeDown13),

		up(14, "BatchNormalization", batchNormUp),
		down(14, "BatchNormalization", batchNormDown),
		down(14, "HardSwish", hardSwishDown),
		down(14, "Trilu", triluDown),
		down(14, "LSTM GRU RNN", layoutDown),
		up(14, "Reshape", reshapeUp),
		down(14, "Reshape", reshapeDown),
		down(14, "Identity", identityDown),

		down(15, "Bernoulli", bernoulliDown),
		down(15, "CastLike", castLikeDown),
		down(15, "Shape", shapeDown),
		down(15, "OptionalGetElement", optionalGetDown),
		down(15, "OptionalHasElement", optionalHasDown),

		up(16, "RoiAlign", roiAlignUp),
		down(16, "RoiAlign", roiAlignDown),
		down(16, "GridSample", gridSampleDown),

		down(17, "LayerNormalization", layerNormDown),
		down(17, "BlackmanWindow HammingWindow HannWindow", windowDown),
		down(17, "DFT", dftDown),
		down(17, "STFT", stftDown),
		down(17, "SequenceMap", sequenceMapDown),

		up(18, reductions, axesUp, "axes"),
		down(18, reductions, reduceDown),
		up(18, "Split", splitNumUp),
		down(18, "Split", splitNumDown),
		down(18, "Pad", padAxesDown),
		down(18, "Resize", resizeDown18),
		down(18, "BitwiseNot", bitwiseNotDown),
		down(18, "Mish", mishDown),
		down(18, "CenterCropPad", centerCropPadDown),
		down(18, "Col2Im", col2ImDown),
		down(18, "GroupNormalization", groupNormDown),
		down(18, "LpPool", lpPoolDown),
		down(18, "OptionalGetElement", optionalGetDown),
		down(18, "OptionalHasElement", optionalHasDown),

		down(19, "AveragePool", averagePoolDown),
		down(19, "Resize", resizeDown19),
		down(19, "Pad", padWrapDown),
		down(19, "QuantizeLinear", quantizeTypesDown),
		down(19, "DequantizeLinear", dequantizeTypesDown),

		up(20, "GridSample", gridNamesUp),
		down(20, "GridSample", gridNamesDown),
		up(20, "DFT", dftAxisUp),
		down(20, "DFT", dftAxisDown),
		down(20, "Gelu", geluDown),
		down(20, "AffineGrid", affineGridDown),
		down(20, "ConstantOfShape", constantOfShapeDown),

		up(21, "GroupNormalization", groupNormUp),
		down(21, "GroupNormalization", groupNormDown),
		down(21, "QuantizeLinear", quantizeBlocksDown),
		down(21, "DequantizeLinear", dequantizeBlocksDown),
		down(21, "QLinearMatMul", qLinearMatMulDown),

		down(22, "AveragePool MaxPool", ceilModeDown),
		down(22, "RandomNormal RandomNormalLike RandomUniform RandomUniformLike EyeLike Bernoulli", dtypeDown),

		down(23, "Attention", attentionDown),
		down(23, "RMSNormalization", rmsNormDown),
		down(23, "RotaryEmbedding", rotaryDown),
		down(23, "QuantizeLinear", quantizePrecisionDown),
		down(23, "DequantizeLinear", dequantizeOutputDown),

		down(24, "Attention", attentionDown24),
		down(24, "Swish", swishDown),
		down(24, "TensorScatter", tensorScatterDown),
		down(24, "Cast CastLike", roundModeDown),

		down(24, "DequantizeLinear", dequantizeWeightsDown),

		down(25, "Attention", attentionDown25),
		down(25, "DequantizeLinear", dequantizeWeightsDown),

		down(26, "CumProd", cumProdDown),
		down(26, "BitCast", bitCastDown),

		down(27, "CausalConvWithState", causalConvDown),
		down(27, "Range", rangeDown),

		down(28, "SwiGLU", swiGLUDown),
		down(28, "DequantizeLinear", dequantizeWeightsDown),
		down(28, "Mod", modDown),
		down(28, "BitShift", bitShiftDown),
		down(28, "SpaceToDepth", spaceToDepthDown),
	}
}

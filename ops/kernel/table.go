package kernel

import (
	"sort"

	"github.com/onnxopt/onnxopt/ir"
)

// row is a row of a table: an operator's type and its kernel, which serves all versions of the operator.
type row struct {
	typ string
	f   Func
}

// Lookup is the kernel of an operator, nil if there is none. One kernel serves all versions; it looks at Call.Opset.
func Lookup(op ir.OpID, opset int64) Func {
	if op.Overload != "" {
		return nil
	}
	var t []row
	switch op.Domain {
	case "":
		t = onnxTable[:]
	case "ai.onnx.ml":
		t = mlTable[:]
	case "com.microsoft":
		t = contribTable[:]
	case "ai.onnx.preview":
		t = previewTable[:]
	case "ai.onnx.preview.training":
		t = trainingTable[:]
	}
	if i := sort.Search(len(t), func(i int) bool { return t[i].typ >= op.Type }); i < len(t) && t[i].typ == op.Type {
		return t[i].f
	}
	return nil
}

// Random reports whether an operator draws random numbers when it is evaluated, so that it must not be folded. (Dropout is
// random in training mode only; its kernel refuses that without a seed.)
func Random(op ir.OpID) bool {
	if op.Domain != "" || op.Overload != "" {
		return false
	}
	switch op.Type {
	case "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike":
		return true
	}
	return false
}

// onnxTable holds the operators of the default domain, sorted by type.
var onnxTable = [...]row{
	{"Abs", absOp},
	{"Acos", acosOp},
	{"Acosh", acoshOp},
	{"Add", addOp},
	{"AffineGrid", affineGridOp},
	{"And", andOp},
	{"ArgMax", argMaxOp},
	{"ArgMin", argMinOp},
	{"Asin", asinOp},
	{"Asinh", asinhOp},
	{"Atan", atanOp},
	{"Atanh", atanhOp},
	{"Attention", attentionOp},
	{"AveragePool", averagePoolOp},
	{"BatchNormalization", batchNormalizationOp},
	{"Bernoulli", bernoulliOp},
	{"BitCast", bitCastOp},
	{"BitShift", bitShiftOp},
	{"BitwiseAnd", bitwiseAndOp},
	{"BitwiseNot", bitwiseNotOp},
	{"BitwiseOr", bitwiseOrOp},
	{"BitwiseXor", bitwiseXorOp},
	{"BlackmanWindow", blackmanWindowOp},
	{"Cast", castOp},
	{"CastLike", castLikeOp},
	{"CausalConvWithState", causalConvWithStateOp},
	{"Ceil", ceilOp},
	{"Celu", celuOp},
	{"CenterCropPad", centerCropPadOp},
	{"Clip", clipOp},
	{"Col2Im", col2ImOp},
	{"Compress", compressOp},
	{"Concat", concatOp},
	{"ConcatFromSequence", concatFromSequenceOp},
	{"Constant", constantOp},
	{"ConstantOfShape", constantOfShapeOp},
	{"Conv", convOp},
	{"ConvInteger", convIntegerOp},
	{"ConvTranspose", convTransposeOp},
	{"Cos", cosOp},
	{"Cosh", coshOp},
	{"CumProd", cumProdOp},
	{"CumSum", cumSumOp},
	{"DFT", dftOp},
	{"DeformConv", deformConvOp},
	{"DepthToSpace", depthToSpaceOp},
	{"DequantizeLinear", dequantizeLinearOp},
	{"Det", detOp},
	{"Div", divOp},
	{"Dropout", dropoutOp},
	{"DynamicQuantizeLinear", dynamicQuantizeLinearOp},
	{"Einsum", einsumOp},
	{"Elu", eluOp},
	{"Equal", equalOp},
	{"Erf", erfOp},
	{"Exp", expOp},
	{"Expand", expandOp},
	{"EyeLike", eyeLikeOp},
	{"Flatten", flattenOp},
	{"Floor", floorOp},
	{"GRU", gruOp},
	{"Gather", gatherOp},
	{"GatherElements", gatherElementsOp},
	{"GatherND", gatherNDOp},
	{"Gelu", geluOp},
	{"Gemm", gemmOp},
	{"GlobalAveragePool", globalAveragePoolOp},
	{"GlobalLpPool", globalLpPoolOp},
	{"GlobalMaxPool", globalMaxPoolOp},
	{"Greater", greaterOp},
	{"GreaterOrEqual", greaterOrEqualOp},
	{"GridSample", gridSampleOp},
	{"GroupNormalization", groupNormalizationOp},
	{"HammingWindow", hammingWindowOp},
	{"HannWindow", hannWindowOp},
	{"HardSigmoid", hardSigmoidOp},
	{"HardSwish", hardSwishOp},
	{"Hardmax", hardmaxOp},
	{"Identity", identityOp},
	{"If", ifOp},
	{"ImageDecoder", imageDecoderOp},
	{"InstanceNormalization", instanceNormalizationOp},
	{"IsInf", isInfOp},
	{"IsNaN", isNaNOp},
	{"LRN", lrnOp},
	{"LSTM", lstmOp},
	{"LayerNormalization", layerNormalizationOp},
	{"LeakyRelu", leakyReluOp},
	{"Less", lessOp},
	{"LessOrEqual", lessOrEqualOp},
	{"LinearAttention", linearAttentionOp},
	{"Log", logOp},
	{"LogSoftmax", logSoftmaxOp},
	{"Loop", loopOp},
	{"LpNormalization", lpNormalizationOp},
	{"LpPool", lpPoolOp},
	{"MatMul", matMulOp},
	{"MatMulInteger", matMulIntegerOp},
	{"Max", maxOp},
	{"MaxPool", maxPoolOp},
	{"MaxRoiPool", maxRoiPoolOp},
	{"MaxUnpool", maxUnpoolOp},
	{"Mean", meanOp},
	{"MeanVarianceNormalization", meanVarianceNormalizationOp},
	{"MelWeightMatrix", melWeightMatrixOp},
	{"Min", minOp},
	{"Mish", mishOp},
	{"Mod", modOp},
	{"Mul", mulOp},
	{"Multinomial", multinomialOp},
	{"Neg", negOp},
	{"NegativeLogLikelihoodLoss", negativeLogLikelihoodLossOp},
	{"NonMaxSuppression", nonMaxSuppressionOp},
	{"NonZero", nonZeroOp},
	{"Not", notOp},
	{"OneHot", oneHotOp},
	{"Optional", optionalOp},
	{"OptionalGetElement", optionalGetElementOp},
	{"OptionalHasElement", optionalHasElementOp},
	{"Or", orOp},
	{"PRelu", preluOp},
	{"Pad", padOp},
	{"Pow", powOp},
	{"QLinearConv", qLinearConvOp},
	{"QLinearMatMul", qLinearMatMulOp},
	{"QuantizeLinear", quantizeLinearOp},
	{"RMSNormalization", rmsNormalizationOp},
	{"RNN", rnnOp},
	{"RandomNormal", randomNormalOp},
	{"RandomNormalLike", randomNormalLikeOp},
	{"RandomUniform", randomUniformOp},
	{"RandomUniformLike", randomUniformLikeOp},
	{"Range", rangeOp},
	{"Reciprocal", reciprocalOp},
	{"ReduceL1", reduceL1Op},
	{"ReduceL2", reduceL2Op},
	{"ReduceLogSum", reduceLogSumOp},
	{"ReduceLogSumExp", reduceLogSumExpOp},
	{"ReduceMax", reduceMaxOp},
	{"ReduceMean", reduceMeanOp},
	{"ReduceMin", reduceMinOp},
	{"ReduceProd", reduceProdOp},
	{"ReduceSum", reduceSumOp},
	{"ReduceSumSquare", reduceSumSquareOp},
	{"RegexFullMatch", regexFullMatchOp},
	{"Relu", reluOp},
	{"Reshape", reshapeOp},
	{"Resize", resizeOp},
	{"ReverseSequence", reverseSequenceOp},
	{"RoiAlign", roiAlignOp},
	{"RotaryEmbedding", rotaryEmbeddingOp},
	{"Round", roundOp},
	{"STFT", stftOp},
	{"Scan", scanOp},
	{"Scatter", scatterOp},
	{"ScatterElements", scatterElementsOp},
	{"ScatterND", scatterNDOp},
	{"Selu", seluOp},
	{"SequenceAt", sequenceAtOp},
	{"SequenceConstruct", sequenceConstructOp},
	{"SequenceEmpty", sequenceEmptyOp},
	{"SequenceErase", sequenceEraseOp},
	{"SequenceInsert", sequenceInsertOp},
	{"SequenceLength", sequenceLengthOp},
	{"SequenceMap", sequenceMapOp},
	{"Shape", shapeOp},
	{"Shrink", shrinkOp},
	{"Sigmoid", sigmoidOp},
	{"Sign", signOp},
	{"SimplifiedLayerNormalization", simplifiedLayerNormalizationOp}, // of ONNX Runtime, not of the standard
	{"Sin", sinOp},
	{"Sinh", sinhOp},
	{"Size", sizeOp},
	{"Slice", sliceOp},
	{"Softmax", softmaxOp},
	{"SoftmaxCrossEntropyLoss", softmaxCrossEntropyLossOp},
	{"Softplus", softplusOp},
	{"Softsign", softsignOp},
	{"SpaceToDepth", spaceToDepthOp},
	{"Split", splitOp},
	{"SplitToSequence", splitToSequenceOp},
	{"Sqrt", sqrtOp},
	{"Squeeze", squeezeOp},
	{"StringConcat", stringConcatOp},
	{"StringNormalizer", stringNormalizerOp},
	{"StringSplit", stringSplitOp},
	{"Sub", subOp},
	{"Sum", sumOp},
	{"SwiGLU", swiGLUOp},
	{"Swish", swishOp},
	{"Tan", tanOp},
	{"Tanh", tanhOp},
	{"TensorScatter", tensorScatterOp},
	{"TfIdfVectorizer", tfIdfVectorizerOp},
	{"ThresholdedRelu", thresholdedReluOp},
	{"Tile", tileOp},
	{"TopK", topKOp},
	{"Transpose", transposeOp},
	{"Trilu", triluOp},
	{"Unique", uniqueOp},
	{"Unsqueeze", unsqueezeOp},
	{"Upsample", upsampleOp},
	{"Where", whereOp},
	{"Xor", xorOp},
}

// mlTable holds those of ai.onnx.ml.
var mlTable = [...]row{
	{"ArrayFeatureExtractor", arrayFeatureExtractorOp},
	{"Binarizer", binarizerOp},
	{"LabelEncoder", labelEncoderOp},
	{"TreeEnsemble", treeEnsembleOp},
}

// previewTable holds those of ai.onnx.preview.
var previewTable = [...]row{
	{"FlexAttention", flexAttentionOp},
}

// trainingTable holds those of ai.onnx.preview.training. Gradient is a transformation of graphs, not a kernel.
var trainingTable = [...]row{
	{"Adagrad", adagradOp},
	{"Adam", adamOp},
	{"Momentum", momentumOp},
}

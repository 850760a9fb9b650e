package tflite

import (
	"errors"

	"github.com/onnxopt/onnxopt/ir"
)

var errNoValue = errors.New("an operand is not computed")

// lowerings maps operators to what translates them.
func lowerings() map[string]lowering {
	m := map[string]lowering{
		"Conv": lowerConv, "ConvTranspose": lowerConvTranspose, "MatMul": lowerMatMul, "Gemm": lowerGemm,
		"MaxPool": lowerPool, "AveragePool": lowerPool, "GlobalAveragePool": lowerGlobal(opMean), "GlobalMaxPool": lowerGlobal(opReduceMax),
		"Add": binary(opAdd), "Sub": binary(opSub), "Mul": binary(opMul), "Div": binary(opDiv), "Pow": lowerPow,
		"Max": variadic(opMaximum), "Min": variadic(opMinimum), "Sum": variadic(opAdd),
		"Equal": binary(opEqual), "Less": binary(opLess), "LessOrEqual": binary(opLessEqual), "Greater": binary(opGreater),
		"GreaterOrEqual": binary(opGreaterEqual), "And": binary(opLogicalAnd), "Or": binary(opLogicalOr),
		"Relu": orIntegers(opRelu, intRelu), "Sigmoid": unary(opLogistic), "Tanh": unary(opTanh), "Exp": unary(opExp), "Log": unary(opLog), "Sqrt": unary(opSqrt),
		"Neg": unary(opNeg), "Abs": orIntegers(opAbs, intAbs), "Floor": unary(opFloor), "Ceil": unary(opCeil), "Round": unary(opRound), "Sin": unary(opSin),
		"Cos": unary(opCos), "Not": unary(opLogicalNot), "HardSwish": unary(opHardSwish), "Sign": orIntegers(opSign, intSign),
		"Elu": exponential(alphaOf(1), always(1)), "Selu": exponential(alphaOf(1.67326319217681884765625), gammaOf),
		"Softsign": lowerSoftsign, "ThresholdedRelu": lowerThresholdedRelu, "Shrink": lowerShrink, "Mod": lowerMod, "Xor": binary(opNotEqual), "TopK": lowerTopK, "LeakyRelu": lowerLeakyRelu, "PRelu": lowerPRelu, "Clip": lowerClip, "HardSigmoid": lowerHardSigmoid, "Gelu": lowerGelu,
		"Swish": lowerSwish, "Mish": lowerMish, "Softplus": lowerSoftplus, "Reciprocal": lowerReciprocal, "Identity": lowerIdentity, "Dropout": lowerIdentity,
		"Cast": lowerCast, "Where": lowerWhere, "Erf": lowerErf,
		"BatchNormalization": lowerBatchNorm, "LayerNormalization": lowerLayerNorm, "InstanceNormalization": lowerInstanceNorm, "RMSNormalization": lowerRMSNorm,
		"Softmax": lowerSoftmax, "LogSoftmax": lowerSoftmax,
		"ReduceMean": reduce(opMean), "ReduceSum": reduce(opSum), "ReduceMax": reduce(opReduceMax), "ReduceMin": reduce(opReduceMin), "ReduceProd": reduce(opReduceProd),
		"ReduceL2": lowerReduceL2, "ReduceL1": summed(sizes), "ReduceSumSquare": summed(squares), "ReduceLogSum": summed(plain, opLog), "ReduceLogSumExp": lowerReduceLogSumExp,
		"ArgMax": lowerArg(opArgMax), "ArgMin": lowerArg(opArgMin),
		"Reshape": lowerReshape, "Flatten": lowerReshape, "Squeeze": lowerReshape, "Unsqueeze": lowerReshape,
		"Transpose": lowerTranspose, "Concat": lowerConcat, "Split": lowerSplit, "Slice": lowerSlice, "Pad": lowerPad, "Gather": lowerGather,
		"Expand": lowerExpand, "Tile": lowerTile, "DepthToSpace": lowerDepthToSpace, "SpaceToDepth": lowerSpaceToDepth, "Resize": lowerResize,
		"QuantizeLinear": lowerQuantize, "DequantizeLinear": lowerDequantize, "CumSum": lowerCumSum, "ConstantOfShape": lowerFill, "LSTM": lowerLSTM, "GRU": lowerGRU, "RNN": lowerRNN,
	}
	return m
}

// versionOf is the version of an operator whose features are used here.
func versionOf(op opcode) int32 {
	switch op {
	case opResizeBilinear, opResizeNearest:
		return 3
	case opTransposeConv:
		return 3
	case opFullyConnected:
		return 5
	case opBatchMatMul, opStridedSlice, opBroadcastTo:
		return 2
	}
	return 1
}

// unary translates an operator on elements.
func unary(code opcode) lowering {
	return func(e *emitter, n *ir.Node) error {
		w := e.view(n.Operand(0))
		e.result(n, code, w.perm, options{}, w.t)
		return nil
	}
}

package tflite

// Numbers of the TensorFlow Lite schema, version 3 (tensorflow/lite/schema/schema.fbs, Apache-2.0).

// opcode is a BuiltinOperator.
type opcode int32

const (
	opAdd            opcode = 0
	opAveragePool    opcode = 1
	opConcatenation  opcode = 2
	opConv           opcode = 3
	opDepthwiseConv  opcode = 4
	opDepthToSpace   opcode = 5
	opDequantize     opcode = 6
	opFloor          opcode = 8
	opFullyConnected opcode = 9
	opLogistic       opcode = 14
	opMaxPool        opcode = 17
	opMul            opcode = 18
	opRelu           opcode = 19
	opReluN1To1      opcode = 20
	opRelu6          opcode = 21
	opReshape        opcode = 22
	opResizeBilinear opcode = 23
	opSoftmax        opcode = 25
	opSpaceToDepth   opcode = 26
	opTanh           opcode = 28
	opPad            opcode = 34
	opGather         opcode = 36
	opTranspose      opcode = 39
	opMean           opcode = 40
	opSub            opcode = 41
	opDiv            opcode = 42
	opStridedSlice   opcode = 45
	opExp            opcode = 47
	opTopK           opcode = 48
	opLogSoftmax     opcode = 50
	opCast           opcode = 53
	opPRelu          opcode = 54
	opMaximum        opcode = 55
	opArgMax         opcode = 56
	opMinimum        opcode = 57
	opLess           opcode = 58
	opNeg            opcode = 59
	opPadV2          opcode = 60
	opGreater        opcode = 61
	opGreaterEqual   opcode = 62
	opLessEqual      opcode = 63
	opSlice          opcode = 65
	opSin            opcode = 66
	opTransposeConv  opcode = 67
	opTile           opcode = 69
	opEqual          opcode = 71
	opNotEqual       opcode = 72
	opLog            opcode = 73
	opSum            opcode = 74
	opSqrt           opcode = 75
	opRsqrt          opcode = 76
	opPow            opcode = 78
	opArgMin         opcode = 79
	opReduceProd     opcode = 81
	opReduceMax      opcode = 82
	opLogicalOr      opcode = 84
	opOneHot         opcode = 85
	opLogicalAnd     opcode = 86
	opLogicalNot     opcode = 87
	opReduceMin      opcode = 89
	opFloorMod       opcode = 95
	opResizeNearest  opcode = 97
	opLeakyRelu      opcode = 98
	opSquaredDiff    opcode = 99
	opMirrorPad      opcode = 100
	opAbs            opcode = 101
	opSplitV         opcode = 102
	opCeil           opcode = 104
	opGatherND       opcode = 107
	opCos            opcode = 108
	opElu            opcode = 111
	opQuantize       opcode = 114
	opRound          opcode = 116
	opHardSwish      opcode = 117
	opSelectV2       opcode = 123
	opBatchMatMul    opcode = 126
	opCumsum         opcode = 128
	opBroadcastTo    opcode = 130
	opGelu           opcode = 150
	opRelu0To1       opcode = 152
	opSign           opcode = 158
)

// elementType is a TensorType.
type elementType int8

const (
	typeFloat32 elementType = 0
	typeFloat16 elementType = 1
	typeInt32   elementType = 2
	typeUint8   elementType = 3
	typeInt64   elementType = 4
	typeBool    elementType = 6
	typeInt16   elementType = 7
	typeInt8    elementType = 9
	typeFloat64 elementType = 10
	typeUint32  elementType = 15
	typeUint16  elementType = 16
)

// Padding and ActivationFunctionType.
const (
	paddingSame  = 0
	paddingValid = 1

	actNone      = 0
	actRelu      = 1
	actReluN1To1 = 2
	actRelu6     = 3
)

// options is a table of scalars of the union BuiltinOptions.
type options struct {
	kind   uint8
	fields []field
}

// field is a scalar of a table; values that are the schema's default are not written.
type field struct {
	slot  int
	value any // bool, int8, int32 or float32
}

// activation is the one that an operator ends with.
func (o options) activation(code opcode) int8 {
	slot := map[opcode]int{opConv: 3, opDepthwiseConv: 4, opTransposeConv: 3}[code] // 0 for FULLY_CONNECTED and binary ones
	for _, f := range o.fields {
		if act, ok := f.value.(int8); ok && f.slot == slot {
			return act
		}
	}
	return actNone
}

func convOptions(padding int8, strides, dilations [2]int, act int8) options {
	return options{1, []field{{0, padding}, {1, int32(strides[1])}, {2, int32(strides[0])}, {3, act}, {4, int32(dilations[1])}, {5, int32(dilations[0])}}}
}

func depthwiseOptions(padding int8, strides, dilations [2]int, multiplier int, act int8) options {
	return options{2, []field{{0, padding}, {1, int32(strides[1])}, {2, int32(strides[0])}, {3, int32(multiplier)}, {4, act}, {5, int32(dilations[1])}, {6, int32(dilations[0])}}}
}

func poolOptions(padding int8, strides, kernel [2]int) options {
	return options{5, []field{{0, padding}, {1, int32(strides[1])}, {2, int32(strides[0])}, {3, int32(kernel[1])}, {4, int32(kernel[0])}}}
}

func fullyConnectedOptions(act int8, keep bool) options {
	return options{8, []field{{0, act}, {2, keep}}}
}

func softmaxOptions() options { return options{9, []field{{0, float32(1)}}} }

func concatenationOptions(axis int) options { return options{10, []field{{0, int32(axis)}}} }

// binaryOptions are those of Add, Mul, Sub and Div.
func binaryOptions(op opcode, act int8) options {
	kind := map[opcode]uint8{opAdd: 11, opMul: 21, opSub: 28, opDiv: 29}[op]
	if kind == 0 {
		return options{}
	}
	return options{kind, []field{{0, act}}}
}

func bilinearOptions(alignCorners, halfPixel bool) options {
	return options{15, []field{{2, alignCorners}, {3, halfPixel}}}
}

func nearestOptions(alignCorners, halfPixel bool) options {
	return options{74, []field{{0, alignCorners}, {1, halfPixel}}}
}

func transposeConvOptions(padding int8, strides [2]int, act int8) options {
	return options{49, []field{{0, padding}, {1, int32(strides[1])}, {2, int32(strides[0])}, {3, act}}}
}

func gatherOptions(axis int) options   { return options{23, []field{{0, int32(axis)}}} }
func reducerOptions(keep bool) options { return options{27, []field{{0, keep}}} }
func stridedSliceOptions(begin, end int) options {
	return options{32, []field{{0, int32(begin)}, {1, int32(end)}}}
}
func splitVOptions(n int) options { return options{79, []field{{0, int32(n)}}} }
func castOptions(in, out elementType) options {
	return options{37, []field{{0, int8(in)}, {1, int8(out)}}}
}
func argMaxOptions(op opcode, out elementType) options {
	kind := uint8(40)
	if op == opArgMin {
		kind = 57
	}
	return options{kind, []field{{0, int8(out)}}}
}
func leakyReluOptions(alpha float32) options { return options{75, []field{{0, alpha}}} }
func mirrorPadOptions(symmetric bool) options {
	mode := int8(0)
	if symmetric {
		mode = 1
	}
	return options{77, []field{{0, mode}}}
}
func batchMatMulOptions(adjX, adjY bool) options {
	return options{101, []field{{0, adjX}, {1, adjY}}}
}
func cumsumOptions(exclusive, reverse bool) options {
	return options{102, []field{{0, exclusive}, {1, reverse}}}
}
func geluOptions(approximate bool) options { return options{116, []field{{0, approximate}}} }
func blockOptions(op opcode, size int) options {
	kind := uint8(94)
	if op == opSpaceToDepth {
		kind = 19
	}
	return options{kind, []field{{0, int32(size)}}}
}

// plainOptions are the tables without fields that some operators must have.
var plainOptions = map[opcode]uint8{
	opReshape: 17, opPad: 22, opTranspose: 26, opExp: 33, opTopK: 34, opLogSoftmax: 36, opDequantize: 38, opMaximum: 39, opMinimum: 39, opLess: 41,
	opNeg: 42, opPadV2: 43, opGreater: 44, opGreaterEqual: 45, opLessEqual: 46, opSlice: 48, opTile: 51, opEqual: 53,
	opNotEqual: 54, opPow: 56, opLogicalOr: 60, opLogicalAnd: 62, opLogicalNot: 63, opFloorMod: 72, opSquaredDiff: 76, opAbs: 78,
	opGatherND: 83, opCos: 84, opQuantize: 89, opHardSwish: 91, opSelectV2: 98, opBroadcastTo: 104, opSign: 123,
}

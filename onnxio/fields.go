package onnxio

import "github.com/onnxopt/onnxopt/onnxio/wire"

// Field numbers of onnx.proto (onnx-ml.proto, onnx 1.23), by message.
const (
	modelIRVersion       wire.Num = 1
	modelProducer        wire.Num = 2
	modelProducerVersion wire.Num = 3
	modelDomain          wire.Num = 4
	modelVersion         wire.Num = 5
	modelDoc             wire.Num = 6
	modelGraph           wire.Num = 7
	modelOpsets          wire.Num = 8
	modelProps           wire.Num = 14
	modelTraining        wire.Num = 20
	modelFunctions       wire.Num = 25

	trainingInit       wire.Num = 1
	trainingAlgorithm  wire.Num = 2
	trainingInitBind   wire.Num = 3
	trainingUpdateBind wire.Num = 4

	opsetDomain  wire.Num = 1
	opsetVersion wire.Num = 2

	entryKey   wire.Num = 1
	entryValue wire.Num = 2

	functionName      wire.Num = 1
	functionInputs    wire.Num = 4
	functionOutputs   wire.Num = 5
	functionAttrs     wire.Num = 6
	functionNodes     wire.Num = 7
	functionDoc       wire.Num = 8
	functionOpsets    wire.Num = 9
	functionDomain    wire.Num = 10
	functionDefaults  wire.Num = 11
	functionValueInfo wire.Num = 12
	functionOverload  wire.Num = 13
	functionProps     wire.Num = 14

	graphNodes      wire.Num = 1
	graphName       wire.Num = 2
	graphInits      wire.Num = 5
	graphDoc        wire.Num = 10
	graphInputs     wire.Num = 11
	graphOutputs    wire.Num = 12
	graphValueInfo  wire.Num = 13
	graphQuant      wire.Num = 14
	graphSparse     wire.Num = 15
	graphProps      wire.Num = 16
	quantTensor     wire.Num = 1
	quantParameters wire.Num = 2

	infoName  wire.Num = 1
	infoType  wire.Num = 2
	infoDoc   wire.Num = 3
	infoProps wire.Num = 4

	nodeInputs   wire.Num = 1
	nodeOutputs  wire.Num = 2
	nodeName     wire.Num = 3
	nodeOp       wire.Num = 4
	nodeAttrs    wire.Num = 5
	nodeDoc      wire.Num = 6
	nodeDomain   wire.Num = 7
	nodeOverload wire.Num = 8
	nodeProps    wire.Num = 9
	nodeDevices  wire.Num = 10

	deviceSharding wire.Num = 2
	shardingTensor wire.Num = 1

	attrName    wire.Num = 1
	attrFloat   wire.Num = 2
	attrInt     wire.Num = 3
	attrString  wire.Num = 4
	attrTensor  wire.Num = 5
	attrGraph   wire.Num = 6
	attrFloats  wire.Num = 7
	attrInts    wire.Num = 8
	attrStrings wire.Num = 9
	attrTensors wire.Num = 10
	attrGraphs  wire.Num = 11
	attrDoc     wire.Num = 13
	attrType    wire.Num = 14
	attrTypes   wire.Num = 15
	attrKind    wire.Num = 20
	attrRef     wire.Num = 21
	attrSparse  wire.Num = 22
	attrSparses wire.Num = 23

	tensorDims     wire.Num = 1
	tensorDType    wire.Num = 2
	tensorSegment  wire.Num = 3
	tensorFloats   wire.Num = 4
	tensorInt32s   wire.Num = 5
	tensorStrings  wire.Num = 6
	tensorInt64s   wire.Num = 7
	tensorName     wire.Num = 8
	tensorRaw      wire.Num = 9
	tensorDoubles  wire.Num = 10
	tensorUint64s  wire.Num = 11
	tensorDoc      wire.Num = 12
	tensorExternal wire.Num = 13
	tensorLocation wire.Num = 14
	tensorProps    wire.Num = 16

	sparseValues  wire.Num = 1
	sparseIndices wire.Num = 2
	sparseDims    wire.Num = 3

	typeTensor     wire.Num = 1
	typeSequence   wire.Num = 4
	typeMap        wire.Num = 5
	typeDenotation wire.Num = 6
	typeOpaque     wire.Num = 7
	typeSparse     wire.Num = 8
	typeOptional   wire.Num = 9

	tensorTypeElem  wire.Num = 1
	tensorTypeShape wire.Num = 2
	ofType          wire.Num = 1 // of a sequence or an optional
	mapKey          wire.Num = 1
	mapValue        wire.Num = 2
	opaqueDomain    wire.Num = 1
	opaqueName      wire.Num = 2

	shapeDim      wire.Num = 1
	dimValue      wire.Num = 1
	dimParam      wire.Num = 2
	dimDenotation wire.Num = 3
)

// graphFields are the numbers in which GraphProto and FunctionProto differ; 0 where a function has no such field.
type graphFields struct{ nodes, inits, sparse, inputs, outputs, info, quant wire.Num }

func fieldsOf(body bool) graphFields {
	if body {
		return graphFields{nodes: functionNodes, inputs: functionInputs, outputs: functionOutputs, info: functionValueInfo}
	}
	return graphFields{graphNodes, graphInits, graphSparse, graphInputs, graphOutputs, graphValueInfo, graphQuant}
}

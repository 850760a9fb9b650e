package audit

import "github.com/onnxopt/onnxopt/onnxio/wire"

// kind of a field: what its bytes are.
type kind uint8

const (
	scalar kind = iota // numbers, enums, packed numbers
	text               // strings that are names or short words
	prose              // documentation
	bytes              // elements and values of attributes
	sub                // a message
)

// field is a field of a message of onnx.proto.
type field struct {
	name     string
	kind     kind
	message  string // of sub
	repeated bool
}

// messages are those of onnx-ml.proto as of onnx 1.23, by the names they have there.
// https://github.com/onnx/onnx/blob/main/onnx/onnx-ml.proto
func messages() map[string]map[wire.Num]field {
	num := func(name string) field { return field{name, scalar, "", false} }
	nums := func(name string) field { return field{name, scalar, "", true} }
	word := func(name string) field { return field{name, text, "", false} }
	words := func(name string) field { return field{name, text, "", true} }
	doc := field{"doc_string", prose, "", false}
	one := func(name, m string) field { return field{name, sub, m, false} }
	many := func(name, m string) field { return field{name, sub, m, true} }
	props := many("metadata_props", "Entry")
	return map[string]map[wire.Num]field{
		"Model": {1: num("ir_version"), 2: word("producer_name"), 3: word("producer_version"), 4: word("domain"), 5: num("model_version"), 6: doc,
			7: one("graph", "Graph"), 8: many("opset_import", "Opset"), 14: props, 20: many("training_info", "Training"),
			25: many("functions", "Function"), 26: many("configuration", "Configuration")},
		"Graph": {1: many("node", "Node"), 2: word("name"), 5: many("initializer", "Tensor"), 10: doc, 11: many("input", "Info"),
			12: many("output", "Info"), 13: many("value_info", "Info"), 14: many("quantization_annotation", "Annotation"),
			15: many("sparse_initializer", "Sparse"), 16: props},
		"Node": {1: words("input"), 2: words("output"), 3: word("name"), 4: word("op_type"), 5: many("attribute", "Attribute"), 6: doc,
			7: word("domain"), 8: word("overload"), 9: props, 10: many("device_configurations", "NodeDevice")},
		"Attribute": {1: word("name"), 2: num("f"), 3: num("i"), 4: {"s", bytes, "", false}, 5: one("t", "Tensor"), 6: one("g", "Graph"),
			7: nums("floats"), 8: nums("ints"), 9: {"strings", bytes, "", true}, 10: many("tensors", "Tensor"), 11: many("graphs", "Graph"),
			13: doc, 14: one("tp", "Type"), 15: many("type_protos", "Type"), 20: num("type"), 21: word("ref_attr_name"),
			22: one("sparse_tensor", "Sparse"), 23: many("sparse_tensors", "Sparse")},
		"Tensor": {1: nums("dims"), 2: num("data_type"), 3: one("segment", "Segment"), 4: nums("float_data"), 5: nums("int32_data"),
			6: {"string_data", bytes, "", true}, 7: nums("int64_data"), 8: word("name"), 9: {"raw_data", bytes, "", false},
			10: nums("double_data"), 11: nums("uint64_data"), 12: doc, 13: many("external_data", "Entry"), 14: num("data_location"), 16: props},
		"Sparse":         {1: one("values", "Tensor"), 2: one("indices", "Tensor"), 3: nums("dims")},
		"Segment":        {1: num("begin"), 2: num("end")},
		"Info":           {1: word("name"), 2: one("type", "Type"), 3: doc, 4: props},
		"Type":           {1: one("tensor_type", "TensorType"), 4: one("sequence_type", "OfType"), 5: one("map_type", "MapType"), 6: word("denotation"), 7: one("opaque_type", "Opaque"), 8: one("sparse_tensor_type", "TensorType"), 9: one("optional_type", "OfType")},
		"TensorType":     {1: num("elem_type"), 2: one("shape", "Shape")},
		"OfType":         {1: one("elem_type", "Type")},
		"MapType":        {1: num("key_type"), 2: one("value_type", "Type")},
		"Opaque":         {1: word("domain"), 2: word("name")},
		"Shape":          {1: many("dim", "Dim")},
		"Dim":            {1: num("dim_value"), 2: word("dim_param"), 3: word("denotation")},
		"Opset":          {1: word("domain"), 2: num("version")},
		"Entry":          {1: word("key"), 2: {"value", prose, "", false}},
		"Annotation":     {1: word("tensor_name"), 2: many("quant_parameter_tensor_names", "Entry")},
		"Training":       {1: one("initialization", "Graph"), 2: one("algorithm", "Graph"), 3: many("initialization_binding", "Entry"), 4: many("update_binding", "Entry")},
		"Configuration":  {1: word("name"), 2: num("num_devices"), 3: words("device")},
		"NodeDevice":     {1: word("configuration_id"), 2: many("sharding_spec", "Sharding"), 3: num("pipeline_stage")},
		"Sharding":       {1: word("tensor_name"), 2: nums("device"), 3: many("index_to_device_group_map", "Group"), 4: many("sharded_dim", "ShardedDim")},
		"Group":          {1: num("key"), 2: nums("value")},
		"ShardedDim":     {1: num("axis"), 2: many("simple_sharding", "SimpleSharding")},
		"SimpleSharding": {1: num("dim_value"), 2: word("dim_param"), 3: num("num_shards")},
		"Function": {1: word("name"), 4: words("input"), 5: words("output"), 6: words("attribute"), 7: many("node", "Node"), 8: doc,
			9: many("opset_import", "Opset"), 10: word("domain"), 11: many("attribute_proto", "Attribute"), 12: many("value_info", "Info"),
			13: word("overload"), 14: props},
	}
}

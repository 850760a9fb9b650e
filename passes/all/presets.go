package all

import "github.com/onnxopt/onnxopt/passes"

// presets are pipelines in text. Later ones use earlier ones.
func presets() []passes.Alias {
	return []passes.Alias{
		{
			Name: "simplify", Doc: "removes what computes nothing, folds constants, joins what is computed twice",
			Pipeline: "freeze-defaults,fixpoint(dce,if-rank,if-const,loops,identity,containers,constfold,noop,clips,omit-operands,reshapes,repeats,reductions,expands,transposes,place-transposes,slices,dedup-constants,cse,strength)",
		},
		{
			Name: "fold", Doc: "folds constants and what they decide",
			Pipeline: "freeze-defaults,fixpoint(dce,if-rank,if-const,loops,identity,constfold)",
		},
		{
			Name: "fuse", Doc: "merges operators into those before them and finds what is spelled out",
			Pipeline: "fixpoint(einsum,conv-bn,to-weights,conv-mul-add,gemm-mul-add,bn-mul-add,conv-fill-bn,pad-into-conv,matmul-add,activations,rotary,attention,layer-norm,instance-norm,dce)",
		},
		{Name: "O0", Doc: "nothing: the output has the input's bytes", Pipeline: ""},
		{
			Name: "O1", Doc: "exact passes: the result computes the same bits",
			Pipeline: "freeze-defaults,fixpoint(dce,if-rank,if-const,loops,identity,containers,constfold{exact=true},noop{exact=true},clips{exact=true},omit-operands{exact=true},reshapes,repeats,reductions,expands,transposes,place-transposes,slices,dedup-constants,cse,strength{exact=true}),output-shapes",
		},
		{
			Name: "O2", Doc: "what keeps within float tolerance, in the model's own opset and domains; the default",
			Pipeline: "fold,fuse,fixpoint{max=4}(simplify,fuse),dead-channels,output-shapes",
		},
		{
			Name: "ort-fuse", Doc: "writes the fused operators of ONNX Runtime, domain com.microsoft",
			Pipeline: "fixpoint(ort-quantized,ort-rotary,ort-attention,ort-norm,layer-norm,ort-skip-norm,ort-gelu,ort-conv,ort-gemm,constfold,dedup-constants,cse,dce)",
		},
		{
			Name: "O3", Doc: "O2, and the fused operators of ONNX Runtime, which other runtimes do not have",
			Pipeline: "O2,ort-fuse,output-shapes",
		},
	}
}

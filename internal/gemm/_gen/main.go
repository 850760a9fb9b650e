// Command _gen writes the assembly of package gemm with avo. The flag -part selects which file's worth of functions to emit.
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	part := flag.String("part", "", "tile32, tile64, tileint, depthwise, int, vector, move or half")
	flag.Parse()
	ConstraintExpr("amd64,!purego")
	switch *part {
	case "tile32":
		tiles(float32Tiles)
	case "tile64":
		tiles(float64Tiles)
	case "tileint":
		tiles(intTiles)
	case "vector":
		vectors()
	case "depthwise":
		depthwiseKernels()
	case "int":
		integers()
	case "half":
		halves()
	case "move":
		moves()
	default:
		log.Fatalf("unknown part %q", *part)
	}
	Generate()
}

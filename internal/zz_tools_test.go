package internal

import (
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/spf13/cobra"
	_ "github.com/stretchr/testify/require"
	_ "gonum.org/v1/gonum/mat"
	_ "google.golang.org/protobuf/proto"
	_ "google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/encoding/protowire"
	_ "pgregory.net/rapid"
	_ "golang.org/x/sys/unix"
	_ "github.com/rogpeppe/go-internal/txtar"
)

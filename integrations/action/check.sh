#!/usr/bin/env bash
# The step of the GitHub Action: budgets, then what changed since BASE in the models that git tracks. Reads CONFIG, SARIF, JUNIT and BASE,
# writes a summary to GITHUB_STEP_SUMMARY. Ends as onnxopt check does.
set -uo pipefail
summary=${GITHUB_STEP_SUMMARY:-/dev/null}
code=0
out=$(onnxopt check --config "$CONFIG" --sarif "$SARIF" --junit "$JUNIT" 2>&1) || code=$?
echo "$out"
{
  echo "## onnxopt check"
  echo '```'
  echo "$out"
  echo '```'
} >>"$summary"
if [ -n "${BASE:-}" ]; then
  old=$(mktemp -d)
  git diff --name-only -z --diff-filter=M "$BASE" -- '*.onnx' '*.onnxtxt' | while IFS= read -r -d '' model; do
    git show "$BASE:$model" >"$old/before" || continue
    onnxopt diff --format markdown "$old/before" "$model" >>"$summary" || echo "$model cannot be compared: external data are not fetched" >>"$summary"
  done
  rm -r "$old"
fi
exit "$code"

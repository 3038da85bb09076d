# In each box: the patch, then the hidden tests over it. The argument is the folder with both.
# Each step says on descriptor 2 that it is done, before anything of the policy's has run.
if [ -s "$1/source.diff" ]; then
  git apply --whitespace=nowarn "$1/source.diff" 2>&1 || exit 1
fi
echo source >&2
while IFS= read -r -d "" name; do
  rm -f -- "./$name" 2>&1 || exit 1
done <"$1/removed"
cp -rT --remove-destination "$1/tests" . 2>&1 || exit 1
echo tests >&2

# Runs in the box: applies the patch, then puts the hidden tests over it. The argument is the folder with both.
# Each step reports on descriptor 2 when it is done, before any code of the policy has run.
if [ -s "$1/source.diff" ]; then
  said=$(git apply -v --whitespace=nowarn "$1/source.diff" 2>&1) || { echo "$said"; exit 1; }
  case $said in *"Skipped patch "*) echo "$said"; exit 1 ;; esac
fi
echo source >&2
while IFS= read -r -d "" name; do
  rm -rf -- "./$name" 2>&1 || exit 1
done <"$1/removed"
cp -rT --remove-destination "$1/tests" . 2>&1 || exit 1
echo tests >&2

/* Answers the golden vectors that are a Poly-1 loss of one row, l = -log Pt + eps (1 - Pt), computed in float:
       cc -std=c11 check.c -o check -lm && ./check < binary32.jsonl > answers.jsonl
   The fields of a line have a fixed order and no blanks, so strstr finds them; what is another loss gets null.
   With -DWRONG it has a defect, eps Pt in the place of eps (1 - Pt). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char line[1 << 20];

static char *after(const char *field) { char *at = strstr(line, field); return at ? at + strlen(field) : NULL; }

int main(void) {
  while (fgets(line, sizeof line, stdin)) {
    char *id = after("\"id\":\""), *row = after("\"logits\":[["), *eps_1 = after("\"epsilon\":[\"");
    if (!id) continue; /* the header */
    printf("{\"id\":\"%.*s\",", (int)strcspn(id, "\""), id);
    int n = atoi(after("\"classes\":"));
    if (!eps_1 || n > 64 || eps_1[strcspn(eps_1, "\"") + 1] != ']' || !after("\"rows\":1,") || !after("\"weight\":null") ||
        !after("\"link\":\"softmax\"") || !after("\"gamma\":\"0x0p+0\"") || !after("\"smoothing\":\"0x0p+0\"") ||
        !after("\"polynomial_link\":null") || !after("\"soft_target\":null") || after("\"target\":[-")) {
      puts("\"value\":null}");
      continue;
    }
    int y = atoi(after("\"target\":["));
    float eps = strtof(eps_1, NULL), top = -INFINITY, others = 0, z[64], e[64];
    for (int k = 0; k < n; k++, row += 2) top = fmaxf(top, z[k] = strtof(row + 1, &row));
    for (int k = 0; k < n; k++) e[k] = expf(z[k] - top), others += k == y ? 0 : e[k];
    float total = others + e[y], x = others / total, ce = z[y] == top ? log1pf(others) : top - z[y] + logf(total);
    float polynomial = x, slope = 1 + eps - eps * x; /* 1 + eps Pt, which would cancel at eps = -1 */
#ifdef WRONG
    polynomial = e[y] / total, slope = 1 - eps * polynomial;
#endif
    printf("\"value\":\"%a\",\"gradient\":[", ce + eps * polynomial);
    for (int k = 0; k < n; k++) printf("%s\"%a\"", k ? "," : "", slope * (k == y ? -x : e[k] / total));
    puts("]}");
  }
}

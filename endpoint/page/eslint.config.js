import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(
  { ignores: ["built/", "node_modules/", "src/api-types.ts", "*.mjs", "*.js", "src/docs.js"] },
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // What comes from outside is written as text only.
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Text from outside must stay text: use textContent." },
        { property: "outerHTML", message: "Text from outside must stay text: use textContent." },
        { property: "insertAdjacentHTML", message: "Text from outside must stay text: use textContent." },
      ],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
    },
  },
);

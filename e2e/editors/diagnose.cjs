// What the YAML language server, which editors use, says of files: `node diagnose.cjs SCHEMA FILE…` prints
// a list of {file, line, message} as JSON. With --complete FILE LINE COLUMN it prints the labels that it
// offers there; line and column are from 0.

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const fromTools = createRequire(path.join(process.env.EDITOR_TOOLS, 'node_modules', 'x.js'));
const { getLanguageService } = fromTools('yaml-language-server/out/server/src/languageservice/yamlLanguageService');
const { TextDocument } = fromTools('vscode-languageserver-textdocument');
const { SettingsState } = fromTools(
  'yaml-language-server/out/server/src/yamlSettings',
);

async function main([schema, ...files]) {
  const uri = `file://${path.resolve(schema)}`;
  const settings = new SettingsState();
  const documents = new Map();
  settings.documents = { get: (uri) => documents.get(uri) };
  const service = getLanguageService({
    schemaRequestService: async (wanted) => fs.readFileSync(new URL(wanted), 'utf8'),
    workspaceContext: { resolveRelativePath: (relative, base) => new URL(relative, base).toString() },
    yamlSettings: settings,
  });
  service.configure({
    validate: true,
    completion: true,
    schemas: [{ uri, fileMatch: ['*.yaml'] }],
  });
  const open = (file) => {
    const at = `file://${path.resolve(file)}`;
    const document = TextDocument.create(at, 'yaml', 0, fs.readFileSync(file, 'utf8'));
    documents.set(at, document);
    return document;
  };
  if (files[0] === '--complete') {
    const position = { line: Number(files[2]), character: Number(files[3]) };
    const found = await service.doComplete(open(files[1]), position, false);
    console.log(JSON.stringify(found.items.map((item) => item.label)));
    return;
  }
  const all = [];
  for (const file of files) {
    for (const { message, range } of await service.doValidation(open(file), false)) {
      all.push({ file: path.basename(file), line: range.start.line + 1, message });
    }
  }
  console.log(JSON.stringify(all));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});

// Acts from C++ with a file that `worldplan export RUN agent.pt2` wrote; worldplan is not needed.
// Reads an observation a line from standard input, and writes an action a line:
//
//     ./act agent.pt2 OBSERVATION_SIZE STATE_SIZE [SEED] < observations.txt
//
// Sizes are in the file's metadata, which is printed first. See README.md beside this file.
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "expected FILE.pt2 OBSERVATION_SIZE STATE_SIZE [SEED]\n";
    return 2;
  }
  c10::InferenceMode guard;
  torch::inductor::AOTIModelPackageLoader decide(argv[1]);
  std::cerr << decide.get_metadata()["worldplan"] << "\n";
  const int64_t width = std::stol(argv[2]), state_size = std::stol(argv[3]);
  torch::manual_seed(argc > 4 ? std::stol(argv[4]) : 0);

  torch::Tensor state = torch::zeros({1, state_size});  // an episode begins with zeros
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream numbers(line);
    std::vector<float> x(width);
    for (float& number : x) {
      if (!(numbers >> number)) {
        std::cerr << "expected " << width << " numbers, got: " << line << "\n";
        return 1;
      }
    }
    torch::Tensor observation = torch::from_blob(x.data(), {1, width}).clone();
    std::vector<torch::Tensor> found = decide.run({observation, state});
    state = found[1];
    torch::Tensor action = found[0].to(torch::kDouble).flatten();
    for (int64_t i = 0; i < action.numel(); ++i) {
      std::cout << (i ? " " : "") << action[i].item<double>();
    }
    std::cout << std::endl;
  }
}
